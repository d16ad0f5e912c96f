"""How connections are kept, how large a message may be, and signals before the server is ready."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest

from guard.client import GuardClient
from guard.serving.protocol import guard_pb2 as pb
from guard.serving.protocol.guard_pb2_grpc import GuardServiceStub
from tests.integration.serving.running import PATIENCE, SERVE, running
from tests.unit.serving.tiny_bundle import image_of

TENSOR = pb.Tensor(datatype="FP32", shape=[3, 8, 8], data=image_of(0.5).tobytes())


def test_old_connections_are_replaced_and_no_call_is_lost(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    options = ("--set=logs.access=true", "--set=connections.age=0.2")
    with (
        running(tiny_bundle, *options, log=log) as server,
        grpc.insecure_channel(server.grpc, [("grpc.enable_retries", 0)]) as channel,
    ):
        check = GuardServiceStub(channel).Check
        deadline = time.monotonic() + PATIENCE
        clients: set[str] = set()
        while len(clients) < 3:
            assert time.monotonic() < deadline
            check(pb.CheckRequest(tensor=TENSOR), timeout=PATIENCE)
            lines = map(json.loads, log.read_text().splitlines())
            clients = {line["client"] for line in lines if "client" in line}


PING, GOAWAY = 6, 7


def frame(kind: int, payload: bytes = b"") -> bytes:
    """Return a frame of HTTP/2 without flags, on the connection itself."""
    return len(payload).to_bytes(3, "big") + bytes([kind, 0]) + bytes(4) + payload


def answers(address: str, pings: int) -> list[tuple[int, bytes]]:
    """Ask over a bare connection so often whether the server lives; return what frames come."""
    host, port = address.split(":")
    received: list[tuple[int, bytes]] = []
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        settings = frame(4)
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
        stream = connection.makefile("rb")
        for number in range(pings):
            connection.sendall(frame(PING, number.to_bytes(8, "big")))
            kind = -1
            while kind not in (PING, GOAWAY):
                header = stream.read(9)
                kind, payload = header[3], stream.read(int.from_bytes(header[:3], "big"))
            received.append((kind, payload))
            if kind == GOAWAY:
                break
    return received


@pytest.mark.parametrize(("seconds", "stays"), [("300", False), ("0", True)])
def test_a_client_that_asks_too_often_whether_we_live_is_sent_away(
    tiny_bundle: Path, seconds: str, stays: bool
) -> None:
    with running(tiny_bundle, f"--set=connections.client_keepalive={seconds}") as server:
        got = answers(server.grpc, 20)
    if stays:
        assert got == [(PING, number.to_bytes(8, "big")) for number in range(20)]
    else:
        assert got[-1][0] == GOAWAY
        assert b"too_many_pings" in got[-1][1]


def test_a_message_over_the_limit_is_refused_and_the_server_lives_on(tiny_bundle: Path) -> None:
    with (
        running(tiny_bundle, "--set=limits.message_bytes=4096") as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        check = GuardServiceStub(channel).Check
        with pytest.raises(grpc.RpcError) as caught:
            check(pb.CheckRequest(encoded=bytes(5000)), timeout=PATIENCE)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        answer = check(pb.CheckRequest(tensor=TENSOR), timeout=PATIENCE)
        assert answer.verdict == pb.VALID


def test_grpcs_own_retries_follow_the_hint(tiny_bundle: Path) -> None:
    """The second of two calls is refused once, waits as long as it was told, and is taken."""
    limits = ("--set=limits.requests_per_second=2", "--set=limits.burst=1")
    with running(tiny_bundle, *limits) as server, GuardClient(server.grpc) as client:
        verdicts = [client.check(image_of(0.5)).verdict for _ in range(2)]
        assert verdicts == ["VALID", "VALID"]
        refused = server.metrics()['cornerguard_rejected_total{reason="resource_exhausted"}']
        assert refused == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_models_load_ends_the_process(number: signal.Signals) -> None:
    program = (
        "import time; from guard.serving.stop_signal import leave_on_signals\n"
        "leave_on_signals(); print('loading', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGHUP)  # which asks for bundles to be loaded, as they are
        process.send_signal(number)
        assert process.wait(PATIENCE) == 128 + number


def test_print_config_prints_and_ends_and_reads_back(tmp_path: Path) -> None:
    def printed(*options: str) -> str:
        command = [*SERVE, "--print-config", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
        return done.stdout

    file = tmp_path / "all.yaml"
    file.write_text(printed("--grpc-port=1234", "--set=limits.pixels=77"))
    assert "grpc_port: 1234\n" in file.read_text()
    assert printed("--config", str(file)) == file.read_text()


def test_a_missing_bundle_is_named() -> None:
    done = subprocess.run(SERVE, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "BUNDLE" in done.stderr
