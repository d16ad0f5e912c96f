"""Bearer tokens at a running server: who is let in, and which services ask for none."""

import json
import time
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from guard.serving.protocol import guard_pb2 as pb
from guard.serving.protocol import inference_pb2
from guard.serving.protocol.guard_pb2_grpc import GuardServiceStub
from guard.serving.protocol.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.integration.serving.running import PATIENCE, running
from tests.unit.serving.tiny_bundle import image_of

TOKEN, NEXT = "a-token-of-the-tests", "the-next-token-of-the-tests"


def check(channel: grpc.Channel, token: str = "") -> str:
    tensor = pb.Tensor(datatype="FP32", shape=[3, 8, 8], data=image_of(0.5).tobytes())
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    request = pb.CheckRequest(tensor=tensor)
    try:
        GuardServiceStub(channel).Check(request, metadata=metadata, timeout=PATIENCE)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def health(channel: grpc.Channel) -> str:
    try:
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def reflection(channel: grpc.Channel) -> str:
    ask = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
    requests = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    try:
        list(ask(requests, timeout=PATIENCE))
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def server_ready(channel: grpc.Channel) -> str:
    ask = GRPCInferenceServiceStub(channel).ServerReady
    try:
        ask(inference_pb2.ServerReadyRequest(), timeout=PATIENCE)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


@pytest.mark.parametrize(
    ("exempt", "open_to_all"),
    [(None, {health, server_ready}), ("[]", set()), ("[reflection]", {reflection})],
)
def test_which_services_ask_for_a_token(
    tiny_bundle: Path, tmp_path: Path, exempt: str | None, open_to_all: set
) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{TOKEN}\n")
    options = [f"--set=tokens.file={file}"]
    if exempt is not None:
        options.append(f"--set=tokens.exempt={exempt}")
    with running(tiny_bundle, *options) as server, grpc.insecure_channel(server.grpc) as channel:
        assert check(channel) == "UNAUTHENTICATED"
        assert check(channel, "another-token-altogether") == "UNAUTHENTICATED"
        assert check(channel, TOKEN) == "OK"
        for service in (health, server_ready, reflection):
            wanted = "OK" if service in open_to_all else "UNAUTHENTICATED"
            assert service(channel) == wanted, service
        assert server.metrics()['cornerguard_rejected_total{reason="unauthenticated"}'] >= 2


def test_a_token_that_is_replaced_holds_no_longer(tiny_bundle: Path, tmp_path: Path) -> None:
    """And no log nor the printed settings ever show one."""
    file, log = tmp_path / "tokens", tmp_path / "log"
    file.write_text(f"{TOKEN}\n")
    options = (f"--set=tokens.file={file}", "--set=logs.access=true", "--set=logs.level=debug")
    with (
        running(tiny_bundle, *options, log=log) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        assert check(channel, TOKEN) == "OK"
        file.write_text(f"{NEXT}\n")
        deadline = time.monotonic() + PATIENCE
        while check(channel, NEXT) != "OK":
            assert time.monotonic() < deadline
        assert check(channel, TOKEN) == "UNAUTHENTICATED"
    written = log.read_text()
    assert TOKEN not in written
    assert NEXT not in written
    lines = [json.loads(line) for line in written.splitlines()]
    statuses = [line["status"] for line in lines if line["message"] == "request"]
    assert (statuses[0], statuses[-1]) == ("OK", "UNAUTHENTICATED")


def test_a_flood_of_one_bearer_does_not_touch_another(tiny_bundle: Path, tmp_path: Path) -> None:
    """Both come from one address; without tokens they would share its rate."""
    file = tmp_path / "tokens"
    file.write_text(f"{TOKEN}\n{NEXT}\n")
    limits = ("--set=limits.requests_per_second=0.01", "--set=limits.burst=3")
    with (
        running(tiny_bundle, f"--set=tokens.file={file}", *limits) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        flood = [check(channel, TOKEN) for _ in range(5)]
        assert flood == ["OK"] * 3 + ["RESOURCE_EXHAUSTED"] * 2
        assert check(channel, NEXT) == "OK"
        assert health(channel) == "OK"
