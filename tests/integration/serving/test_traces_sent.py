"""Spans of a running server on their way to a collector, and to one that is not there."""

import time
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as otlp_grpc

from guard.client import GuardClient
from tests.integration.serving.running import PATIENCE, running
from tests.unit.serving.tiny_bundle import image_of


class Collector(otlp_grpc.TraceServiceServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return otlp.ExportTraceServiceResponse()


def test_a_collector_gets_the_spans_before_the_server_ends(tiny_bundle: Path) -> None:
    collector, server = Collector(), grpc.server(futures.ThreadPoolExecutor(1))
    otlp_grpc.add_TraceServiceServicer_to_server(collector, server)
    endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with (
        running(tiny_bundle, f"--set=tracing.endpoint={endpoint}") as served,
        GuardClient(served.grpc) as client,
    ):
        client.check(image_of(0.5))
        client.check(image_of(0.8))
    server.stop(None).wait(PATIENCE)
    names = sorted(span.name for span in collector.spans)
    assert names == sorted(["guard.v1.GuardService/Check", "queue", "inference"] * 2)
    whole = {s.span_id: s for s in collector.spans if s.name.endswith("Check")}
    for span in collector.spans:
        if span.span_id not in whole:
            above = whole[span.parent_span_id]
            times = (above.start_time_unix_nano, span.start_time_unix_nano)
            assert times[0] - 1e6 <= times[1] <= span.end_time_unix_nano
            assert span.end_time_unix_nano <= above.end_time_unix_nano + 1e6
    assert abs(time.time() - whole.popitem()[1].end_time_unix_nano / 1e9) < PATIENCE


def test_a_collector_that_is_not_there_harms_nothing(tiny_bundle: Path, tmp_path: Path) -> None:
    options = ("--set=tracing.endpoint=http://127.0.0.1:1",)
    with running(tiny_bundle, *options, log=tmp_path / "log") as served:
        with GuardClient(served.grpc) as client:
            assert client.check(image_of(0.5)).verdict == "VALID"
        served.process.terminate()
        assert served.process.wait(PATIENCE) == 0
