"""Both clients against server processes: many images, servers that restart, overload, readiness."""

import io
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image

from guard.client import Credentials
from guard.errors import BadInput, CornerguardError
from guard.serving.protocol import guard_pb2 as pb
from guard.serving.protocol.guard_pb2_grpc import (
    GuardServiceServicer,
    add_GuardServiceServicer_to_server,
)
from tests.integration.serving.authorities import issue
from tests.integration.serving.clients import CLIENTS, Threaded
from tests.integration.serving.running import PATIENCE, Running, running
from tests.unit.serving.tiny_bundle import image_of

LEVELS = {0.2: "VALID", 0.5: "VALID", 0.8: "CORNER_CASE", 1.0: "UNVERIFIED"}
client_kinds = pytest.mark.parametrize("client", CLIENTS)


def png(level: float, side: int = 8) -> bytes:
    pixels = (image_of(level, (side, side)).transpose(1, 2, 0) * 255).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@client_kinds
def test_many_images_keep_their_order(
    client: type[Threaded], server: Running, tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(png(0.8))
    images = [*([png(level) for level in LEVELS] * 20), path, image_of(0.5)]
    verdicts = client(server.grpc).check_many(images, at_once=16)
    wanted = [*(list(LEVELS.values()) * 20), "CORNER_CASE", "VALID"]
    assert [verdict.verdict for verdict in verdicts] == wanted


@client_kinds
def test_errors_name_the_file(client: type[Threaded], server: Running, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no image")
    with pytest.raises(BadInput, match=r"notes\.txt: .*neither a JPEG nor a PNG"):
        client(server.grpc).check_many([png(0.5), path, png(0.5)])
    with pytest.raises(BadInput, match=r"none\.png: cannot be read"):
        client(server.grpc).check(tmp_path / "none.png")
    with pytest.raises(CornerguardError, match=r"127\.0\.0\.1:1: UNAVAILABLE") as caught:
        client("127.0.0.1:1").check(png(0.5), timeout=2.0)
    assert "\n" not in str(caught.value)


@client_kinds
def test_ready(client: type[Threaded], server: Running) -> None:
    assert client(server.grpc).ready()
    assert not client("127.0.0.1:1").ready()


@client_kinds
def test_a_server_that_is_restarted_is_waited_for(
    client: type[Threaded], tiny_bundle: Path
) -> None:
    """Calls that are made while no server is there are answered by the next one."""
    with running(tiny_bundle) as first:
        address = first.grpc
        assert client(address).check(png(0.5)).verdict == "VALID"
    answers: list[str] = []

    def call() -> None:
        many = client(address).check_many([png(0.8)] * 6, timeout=float(PATIENCE))
        answers.extend(verdict.verdict for verdict in many)

    caller = threading.Thread(target=call)
    caller.start()
    with running(tiny_bundle, "--grpc-port", address.rpartition(":")[2]):
        caller.join(PATIENCE)
    assert answers == ["CORNER_CASE"] * 6


@client_kinds
def test_an_overloaded_server_is_asked_again(
    client: type[Threaded], tiny_bundle: Path, tmp_path: Path
) -> None:
    """The server has room for one image; twelve at once are all judged, later."""
    settings = tmp_path / "serve.yaml"
    settings.write_text("batching: {max_batch: 1, queue: 1}\ndecode_threads: 1\n")
    images = [png(level, side=400) for level in (0.5, 0.8)] * 12
    with running(tiny_bundle, "--config", str(settings)) as server:
        verdicts = client(server.grpc).check_many(images, timeout=float(PATIENCE), at_once=12)
        refused = server.metrics()['cornerguard_rejected_total{reason="resource_exhausted"}']
    assert [verdict.verdict for verdict in verdicts] == ["VALID", "CORNER_CASE"] * 12
    assert refused > 0


class _Doorkeeper(GuardServiceServicer):
    """Asks the first caller to come again later, then says what it was shown."""

    def __init__(self, pushback: str = "") -> None:
        self.pushback, self.shown, self.times = pushback, list[dict[str, str]](), list[float]()

    def Check(self, request: pb.CheckRequest, context: grpc.ServicerContext) -> pb.CheckResponse:
        self.times.append(time.monotonic())
        self.shown.append(dict(context.invocation_metadata()))
        if self.pushback and len(self.times) == 1:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", self.pushback),))
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
        return pb.CheckResponse(verdict=pb.VALID)


@contextmanager
def doorkeeper(
    keeper: _Doorkeeper, credentials: grpc.ServerCredentials | None = None
) -> Iterator[int]:
    stand_in = grpc.server(futures.ThreadPoolExecutor(1))
    add_GuardServiceServicer_to_server(keeper, stand_in)
    if credentials is None:
        port = stand_in.add_insecure_port("127.0.0.1:0")
    else:
        port = stand_in.add_secure_port("127.0.0.1:0", credentials)
    stand_in.start()
    yield port
    stand_in.stop(None).wait(PATIENCE)


@client_kinds
def test_the_server_says_when_to_come_again(client: type[Threaded]) -> None:
    keeper = _Doorkeeper("400")
    with doorkeeper(keeper) as port:
        assert client(f"127.0.0.1:{port}").check(b"x").verdict == "VALID"
        first, second = keeper.times
        assert second - first >= 0.4
        keeper.times.clear()
        keeper.pushback = "60000"
        with pytest.raises(CornerguardError, match="RESOURCE_EXHAUSTED: full"):
            client(f"127.0.0.1:{port}").check(b"x", timeout=5.0)
    assert len(keeper.times) == 1


@client_kinds
def test_mutual_tls_with_a_token(client: type[Threaded], tmp_path: Path) -> None:
    authority, stranger = issue("ours"), issue("others")
    certificate, key = issue("client", authority).write(tmp_path)
    ca, other, token = tmp_path / "ca.pem", tmp_path / "other.pem", tmp_path / "token"
    ca.write_bytes(authority.chain)
    other.write_bytes(stranger.chain)
    token.write_text("secret\n")
    served = issue("server", authority)
    credentials = grpc.ssl_server_credentials(
        [(served.key, served.chain)], authority.chain, require_client_auth=True
    )
    keeper = _Doorkeeper()
    with doorkeeper(keeper, credentials) as port:
        ours = Credentials(ca=ca, certificate=certificate, key=key, token=token)
        assert client(f"localhost:{port}", credentials=ours).check(b"x").verdict == "VALID"
        assert keeper.shown[0]["authorization"] == "Bearer secret"
        for wrong in (
            Credentials(ca=ca),
            Credentials(ca=other, certificate=certificate, key=key),
            Credentials(tls=True, certificate=certificate, key=key),
            Credentials(),
        ):
            with pytest.raises(CornerguardError, match=r"UNAVAILABLE|DEADLINE_EXCEEDED"):
                client(f"localhost:{port}", credentials=wrong).check(b"x", timeout=0.5)
    assert len(keeper.shown) == 1


@client_kinds
def test_no_token_is_sent_unless_given(client: type[Threaded]) -> None:
    keeper = _Doorkeeper()
    with doorkeeper(keeper) as port:
        client(f"127.0.0.1:{port}").check(b"x")
        local = Credentials(token="secret", token_without_tls=True)
        client(f"127.0.0.1:{port}", credentials=local).check(b"x")
    assert "authorization" not in keeper.shown[0]
    assert keeper.shown[1]["authorization"] == "Bearer secret"
