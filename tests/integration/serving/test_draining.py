"""The end of a server under load: what it took it answers, what it did not it says so."""

import io
import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image

from guard.serving.protocol import guard_pb2 as pb
from guard.serving.protocol.guard_pb2_grpc import GuardServiceStub
from tests.integration.serving.running import PATIENCE, Running, running
from tests.unit.serving.tiny_bundle import image_of

CALLERS = 8


def picture() -> bytes:
    """Return a file that takes a while to decode, so that some are in hand at any time."""
    pixels = (image_of(0.5, (800, 800)).transpose(1, 2, 0) * 255).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_under_load_every_accepted_request_is_answered(tiny_bundle: Path, tmp_path: Path) -> None:
    """The server's own log and its callers agree on each request, by its id."""
    log, image = tmp_path / "log", picture()
    answered: dict[str, str] = {}
    stop = threading.Event()

    def call(server: Running, caller: int) -> None:
        with grpc.insecure_channel(server.grpc, [("grpc.enable_retries", 0)]) as channel:
            check = GuardServiceStub(channel).Check
            for number in range(1_000_000):
                name = f"{caller}-{number}"
                try:
                    check(pb.CheckRequest(encoded=image, request_id=name), timeout=PATIENCE)
                    answered[name] = "OK"
                except grpc.RpcError as error:
                    answered[name] = error.code().name
                if stop.is_set() or answered[name] != "OK":
                    return

    options = ("--set=logs.access=true", "--set=shutdown.notice=0.1", "--set=shutdown.grace=30")
    with running(tiny_bundle, *options, log=log) as server, ThreadPoolExecutor(CALLERS) as pool:
        calls = [pool.submit(call, server, caller) for caller in range(CALLERS)]
        deadline = time.monotonic() + PATIENCE
        while len(answered) < 3 * CALLERS:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
        stop.set()
        for future in calls:
            future.result(PATIENCE)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    logged = {line["request_id"]: line["status"] for line in lines if line["message"] == "request"}
    assert set(logged.values()) <= {"OK", "UNAVAILABLE"}
    ok = {name for name, status in logged.items() if status == "OK"}
    assert ok == {name for name, status in answered.items() if status == "OK"}
    assert len(ok) >= 3 * CALLERS
    # Calls that the server never took, or refused, do not wait for an answer that never comes.
    assert set(answered.values()) <= {"OK", "UNAVAILABLE", "CANCELLED"}


def test_a_second_signal_ends_at_once(tiny_bundle: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(tiny_bundle, "--set=shutdown.notice=600", log=log) as server:
        server.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while server.get("/readyz")[0] == 200:
            assert time.monotonic() < deadline
        with grpc.insecure_channel(server.grpc) as channel:  # it drains, and must not be killed
            ask = health_pb2_grpc.HealthStub(channel).Check
            alive = ask(health_pb2.HealthCheckRequest(service="liveness"), timeout=PATIENCE)
        assert alive.status == health_pb2.HealthCheckResponse.SERVING
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE) == 128 + signal.SIGINT
    assert "ending at once, on a second signal: SIGINT" in log.read_text()


def test_who_watches_the_health_does_not_hold_up_the_end(tiny_bundle: Path) -> None:
    """The watcher hears of the end first, as Kubernetes and gRPC's own clients do."""
    states: list[int] = []
    with (
        running(tiny_bundle, "--set=shutdown.grace=600") as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        watch = health_pb2_grpc.HealthStub(channel).Watch
        stream = watch(health_pb2.HealthCheckRequest(service="guard.v1.GuardService"))
        states.append(next(stream).status)
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as caught:
            states.extend(state.status for state in stream)
        assert server.process.wait(PATIENCE) == 0
    kinds = health_pb2.HealthCheckResponse
    assert states == [kinds.SERVING, kinds.NOT_SERVING]
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
