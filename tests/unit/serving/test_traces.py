"""Spans of requests, caught in memory by OpenTelemetry's own exporter."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from guard.serving.admission import Admission
from guard.serving.config import ServeSettings
from guard.serving.metrics import Metrics
from guard.serving.operations_settings import Tracing
from guard.serving.tracing import Traces, ran

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PATIENCE = 20


async def handle(request: bytes, context: Any) -> bytes:
    if request == b"refuse":
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
    if request == b"fail":
        await context.abort(grpc.StatusCode.INTERNAL, "our fault")
    ran(100.0, 100.25, 101.0)
    return request


def spans_of(
    calls: Sequence[tuple[str, bytes, tuple]], settings: Tracing
) -> tuple[ReadableSpan, ...]:
    """Make calls of (service, message, metadata) one after another, and return their spans."""
    exporter = InMemorySpanExporter()
    traces = Traces(settings, exporter)

    async def run() -> None:
        admission = Admission(ServeSettings(), Metrics(), [traces.observer])
        for service in ("guard.v1.GuardService", "grpc.health.v1.Health"):
            handler = grpc.unary_unary_rpc_method_handler(handle)
            admission.add_registered_method_handlers(service, {"Check": handler})
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((admission,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for service, message, metadata in calls:
                call = channel.unary_unary(f"/{service}/Check")
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await call(message, metadata=metadata, timeout=PATIENCE)
        await server.stop(None)

    asyncio.run(run())
    traces.close()
    return exporter.get_finished_spans()


GUARD = "guard.v1.GuardService"
ON = Tracing(endpoint="http://127.0.0.1:1")


def test_a_request_has_a_span_with_its_wait_and_its_run() -> None:
    header = ("traceparent", f"00-{TRACE}-{PARENT}-01")
    queue, inference, span = spans_of([(GUARD, b"", (header, ("x-request-id", "7")))], ON)
    assert (queue.name, inference.name) == ("queue", "inference")
    assert span.name == f"{GUARD}/Check"
    assert span.kind == SpanKind.SERVER
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT
    assert dict(span.attributes or {}) == {
        "rpc.system": "grpc",
        "rpc.service": GUARD,
        "rpc.method": "Check",
        "rpc.grpc.status_code": 0,
        "cornerguard.request_id": "7",
    }
    assert span.resource.attributes["service.name"] == "cornerguard"
    for child, seconds in ((queue, 0.25), (inference, 0.75)):
        assert child.parent is not None
        assert child.parent.span_id == span.context.span_id
        assert (child.end_time or 0) - (child.start_time or 0) == pytest.approx(seconds * 1e9, 1e-6)
    assert queue.end_time == inference.start_time


@pytest.mark.parametrize(
    ("message", "code", "status"),
    [(b"", 0, StatusCode.UNSET), (b"refuse", 3, StatusCode.UNSET), (b"fail", 13, StatusCode.ERROR)],
)
def test_only_our_own_failures_are_errors(message: bytes, code: int, status: StatusCode) -> None:
    span = spans_of([(GUARD, message, ())], ON)[-1]
    assert (span.attributes or {})["rpc.grpc.status_code"] == code
    assert span.status.status_code == status


def test_health_calls_have_none() -> None:
    assert spans_of([("grpc.health.v1.Health", b"", ())] * 3, ON) == ()


def test_the_share_is_kept_and_the_callers_decision_followed() -> None:
    rarely = Tracing(endpoint="http://127.0.0.1:1", share=1e-9)
    wanted = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)
    assert spans_of([(GUARD, b"", ())] * 20, rarely) == ()
    assert len(spans_of([(GUARD, b"", wanted)], rarely)) == 3
    unwanted = (("traceparent", f"00-{TRACE}-{PARENT}-00"),)
    assert spans_of([(GUARD, b"", unwanted)], ON) == ()
    broken = (("traceparent", "nonsense"),)
    assert len(spans_of([(GUARD, b"", broken)], ON)) == 3


def test_outside_of_a_traced_request_nothing_is_told() -> None:
    exporter = InMemorySpanExporter()
    traces = Traces(ON, exporter)
    ran(1.0, 2.0, 3.0)
    traces.close()
    assert exporter.get_finished_spans() == ()
