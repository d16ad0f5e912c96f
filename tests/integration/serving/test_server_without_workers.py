"""A server process and its workers: they end with it, and without them it says so."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import pytest

from guard.client import GuardClient
from guard.serving.protocol import guard_pb2 as pb
from guard.serving.protocol import inference_pb2
from guard.serving.protocol.guard_pb2_grpc import GuardServiceStub
from guard.serving.protocol.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.integration.serving.running import Running, running
from tests.unit.serving.tiny_bundle import image_of, write_bundle

PATIENCE = 60.0
NO_OUTAGE = "--set=instances.outage_seconds=0"


def workers_of(process: int) -> list[int]:
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(child) for child in children]


def request_of(level: float) -> pb.CheckRequest:
    image = image_of(level)
    return pb.CheckRequest(
        tensor=pb.Tensor(data=image.tobytes(), datatype="FP32", shape=image.shape)
    )


def lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.parametrize("level", [0.5, 0.0], ids=["idle", "busy"])
def test_workers_end_with_a_server_that_is_killed(tmp_path: Path, level: float) -> None:
    """Even in the middle of a run that never ends."""
    with running(write_bundle(tmp_path / "tiny", black="hangs")) as server:
        workers = workers_of(server.process.pid)
        assert workers
        with grpc.insecure_channel(server.grpc) as channel:
            call = GuardServiceStub(channel).Check.future(request_of(level))
            if level:
                assert call.result(PATIENCE).verdict == pb.VALID
            else:
                with pytest.raises(grpc.FutureTimeoutError):
                    call.result(0.3)
            server.process.kill()
            deadline = time.monotonic() + PATIENCE
            while any(lives(worker) for worker in workers):
                assert time.monotonic() < deadline
                time.sleep(0.01)


def test_a_server_without_workers_is_not_ready(tiny_bundle: Path) -> None:
    with running(tiny_bundle) as server:
        deadline = time.monotonic() + PATIENCE
        while server.get("/readyz")[0] == 200:
            for worker in workers_of(server.process.pid):
                os.kill(worker, signal.SIGKILL)
            assert time.monotonic() < deadline
        while server.get("/readyz")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with GuardClient(server.grpc) as client:
            assert client.check(image_of(0.5)).verdict == "VALID"


def is_ready(server: Running, model: str = "") -> bool:
    with grpc.insecure_channel(server.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)
        if model:
            return stub.ModelReady(inference_pb2.ModelReadyRequest(name=model)).ready
        return stub.ServerReady(inference_pb2.ServerReadyRequest()).ready


@contextmanager
def held_down(server: Running, model: str, *others: int) -> Iterator[None]:
    """Kill a model's worker, and keep the next one from being ready until the block ends."""
    process, deadline = server.process.pid, time.monotonic() + PATIENCE
    while True:
        assert time.monotonic() < deadline
        for worker in set(workers_of(process)) - {*others}:
            with suppress(ProcessLookupError):
                ready = is_ready(server, model)
                os.kill(worker, signal.SIGKILL if ready else signal.SIGSTOP)
                if not ready and not is_ready(server, model) and lives(worker):
                    try:
                        yield
                    finally:
                        os.kill(worker, signal.SIGCONT)
                    return


def test_who_asks_while_no_worker_lives_is_told_when_to_come_again(tiny_bundle: Path) -> None:
    with running(tiny_bundle, NO_OUTAGE) as server, held_down(server, "tiny"):
        with (
            grpc.insecure_channel(server.grpc) as channel,
            pytest.raises(grpc.RpcError, match="no worker of the model lives") as caught,
        ):
            GuardServiceStub(channel).Check(request_of(0.5), timeout=PATIENCE)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"] == "1000"


def test_a_model_without_workers_leaves_the_others_ready(tmp_path: Path) -> None:
    """The server as a whole is not: whoever asks for it counts on every model."""
    one, other = (write_bundle(tmp_path / name) for name in ("one", "other"))
    with running(one, str(other), NO_OUTAGE) as server:
        deadline = time.monotonic() + PATIENCE
        with held_down(server, "other", workers_of(server.process.pid)[0]):
            assert is_ready(server, "one")
            assert not is_ready(server)
            while server.get("/readyz")[0] == 200:
                assert time.monotonic() < deadline
            with GuardClient(server.grpc, "one") as client:
                assert client.check(image_of(0.5)).verdict == "VALID"
        while not (is_ready(server) and is_ready(server, "other")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
