"""OpenTelemetry spans of requests, with how long each waited and ran; nothing of it when off."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import grpc

from guard.errors import BadInput
from guard.serving.behaviours import Behaviour, Context, Observer
from guard.serving.operations_settings import Tracing
from guard.serving.request_ids import current
from guard.serving.status_names import status_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

__all__ = ["Traces", "ran"]

_current: ContextVar["tuple[Tracer, Span] | None"] = ContextVar("span", default=None)
_FAILURES = (
    "UNKNOWN",
    "DEADLINE_EXCEEDED",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
)
"""Statuses that are the server's fault, by OpenTelemetry's conventions for gRPC."""


class Traces:
    """Spans of the calls, sent to a collector in the background.

    Health, reflection and readiness calls are not among them, as they are not observed. The
    caller's `traceparent` is followed (W3C Trace Context).

    Args:
        settings: what is traced.
        exporter: where spans go; None for the collector at `settings.endpoint`.

    Raises:
        BadInput: OpenTelemetry is not installed.
    """

    def __init__(self, settings: Tracing, exporter: "SpanExporter | None" = None) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
            from opentelemetry.trace.propagation.tracecontext import (
                TraceContextTextMapPropagator,
            )
        except ModuleNotFoundError as error:
            raise BadInput(
                f"tracing.endpoint: {error.name} is missing: pip install 'cornerguard[otel]'"
            ) from None
        exporter = exporter or OTLPSpanExporter(endpoint=settings.endpoint, timeout=2)
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": settings.service}),
            sampler=ParentBasedTraceIdRatio(settings.share),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("cornerguard")
        self._propagator = TraceContextTextMapPropagator()

    @property
    def observer(self) -> Observer:
        """Wraps what handles a method's calls."""
        return self._traced

    def close(self) -> None:
        """Send the spans that are left."""
        self._provider.shutdown()

    def _traced(self, path: str, inner: Behaviour) -> Behaviour:
        service, _, method = path[1:].partition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}

        async def call(request: Any, context: Context) -> Any:
            failure: BaseException | None = None
            with self._entered(path[1:], attributes, context) as span:
                try:
                    return await inner(request, context)
                except BaseException as error:
                    failure = error
                    raise
                finally:
                    if span.is_recording():
                        _describe_end(span, context, failure)

        return call

    @contextmanager
    def _entered(
        self, name: str, attributes: Mapping[str, str], context: Context
    ) -> "Iterator[Span]":
        from opentelemetry.trace import SpanKind

        carrier = {
            key: value
            for key, value in context.invocation_metadata() or ()
            if key in ("traceparent", "tracestate")
        }
        parent = self._propagator.extract(carrier)
        span = self._tracer.start_span(name, parent, SpanKind.SERVER, {**attributes})
        before = _current.set((self._tracer, span) if span.is_recording() else None)
        try:
            yield span
        finally:
            _current.reset(before)
            span.end()


def ran(submitted: float, started: float, ended: float) -> None:
    """Tell the running request's span, if it has one, when its images waited and when they ran.

    Args:
        submitted: when they came to the queue, by `time.monotonic()`.
        started: when their run began.
        ended: when it ended.
    """
    running = _current.get()
    if running is None:
        return
    from opentelemetry.trace import set_span_in_context

    tracer, span = running
    above, offset = set_span_in_context(span), time.time() - time.monotonic()
    for name, begin, end in (("queue", submitted, started), ("inference", started, ended)):
        child = tracer.start_span(name, above, start_time=round((begin + offset) * 1e9))
        child.end(round((end + offset) * 1e9))


def _describe_end(span: "Span", context: Context, failure: BaseException | None) -> None:
    from opentelemetry.trace import Status, StatusCode

    status = status_of(context, failure)
    span.set_attribute("rpc.grpc.status_code", int(grpc.StatusCode[status].value[0]))
    span.set_attribute("cornerguard.request_id", current())
    if status in _FAILURES:
        span.set_status(Status(StatusCode.ERROR, status))
