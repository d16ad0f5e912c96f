"""TLS and mutual TLS on both ports, and certificates that change while the server runs."""

import json
import re
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from guard.serving.protocol import guard_pb2 as pb
from guard.serving.protocol.guard_pb2_grpc import GuardServiceStub
from tests.integration.serving.authorities import Pair, issue
from tests.integration.serving.running import FREE_PORTS, PATIENCE, SERVE, Running, running
from tests.unit.serving.tiny_bundle import image_of

OURS, OTHERS = issue("ours"), issue("others")


def check(server: Running, authority: Pair | None, client: Pair | None = None) -> str:
    """Return the verdict by a new connection, or the name of the status."""
    tensor = pb.Tensor(datatype="FP32", shape=[3, 8, 8], data=image_of(0.5).tobytes())
    # Channels of one process would share a connection, and its certificate with it.
    own = [("grpc.use_local_subchannel_pool", 1)]
    if authority is None:
        channel = grpc.insecure_channel(server.grpc, own)
    else:
        given = (client.key, client.chain) if client else (None, None)
        credentials = grpc.ssl_channel_credentials(authority.chain, *given)
        channel = grpc.secure_channel(server.grpc, credentials, own)
    with channel:
        try:
            answer = GuardServiceStub(channel).Check(pb.CheckRequest(tensor=tensor), timeout=5)
        except grpc.RpcError as error:
            return str(error.code().name)
        return pb.Verdict.Name(answer.verdict)


def page(server: Running, path: str, authority: Pair, client: Path | None = None) -> int:
    context = ssl.create_default_context(cadata=authority.chain.decode())
    if client:
        context.load_cert_chain(client / "tls.crt", client / "tls.key")
    url = f"https://{server.http}{path}"
    with urllib.request.urlopen(url, timeout=PATIENCE, context=context) as answer:
        return int(answer.status)


def settings(folder: Path, **more: Any) -> tuple[str, ...]:
    certificate, key = issue("server", OURS).write(folder)
    values = {"certificate": str(certificate), "key": str(key), **more}
    return tuple(f"--set=tls.{name}={value}" for name, value in values.items())


def test_encrypted_calls_and_a_certificate_that_changes(tiny_bundle: Path, tmp_path: Path) -> None:
    """A broken new certificate changes nothing; a whole one is used for new connections."""
    log = tmp_path / "log"
    with running(tiny_bundle, *settings(tmp_path, http="true"), log=log) as server:
        assert check(server, OURS) == "VALID"
        assert check(server, OTHERS) == "UNAVAILABLE"
        assert check(server, None) == "UNAVAILABLE"
        assert page(server, "/readyz", OURS) == 200

        new = issue("server", OTHERS)
        (tmp_path / "tls.crt").write_bytes(new.chain)  # its key is still the old one
        assert check(server, OURS) == "VALID"
        (tmp_path / "tls.crt").write_text("-----BEGIN CERTIFICATE-----\nno\n")
        assert check(server, OURS) == "VALID"
        assert page(server, "/readyz", OURS) == 200

        new.write(tmp_path)
        assert check(server, OTHERS) == "VALID"
        assert check(server, OURS) == "UNAVAILABLE"
        assert page(server, "/metrics", OTHERS) == 200
        with pytest.raises(urllib.error.URLError):
            page(server, "/metrics", OURS)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    of_files = [line for line in lines if line["logger"] == "guard.serving.certificates"]
    assert [line["level"] for line in of_files] == ["error", "error", "info"]
    assert all("tls.crt" in line["message"] for line in of_files)


def test_mutual_tls_lets_in_whom_the_authority_signed(tiny_bundle: Path, tmp_path: Path) -> None:
    """Probes, which cannot show a certificate, have a port of their own."""
    authority = tmp_path / "ca.crt"
    authority.write_bytes(OURS.chain)
    friend, stranger = issue("friend", OURS), issue("stranger", OTHERS)
    (tmp_path / "friend").mkdir()
    friend.write(tmp_path / "friend")
    options = settings(tmp_path, client_authority=authority, http="true")
    with running(tiny_bundle, *options, "--set=probe_port=0", log=tmp_path / "log") as server:
        assert check(server, OURS, friend) == "VALID"
        assert check(server, OURS, stranger) == "UNAVAILABLE"
        assert check(server, OURS) == "UNAVAILABLE"
        assert page(server, "/livez", OURS, tmp_path / "friend") == 200
        with pytest.raises((OSError, urllib.error.URLError)):
            page(server, "/livez", OURS)
        with grpc.insecure_channel(server.line["probe"]) as channel:
            probe = health_pb2_grpc.HealthStub(channel).Check
            answer = probe(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            with pytest.raises(grpc.RpcError) as caught:
                GuardServiceStub(channel).Check(pb.CheckRequest(), timeout=PATIENCE)
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
        authority.write_bytes(OTHERS.chain)
        assert check(server, OURS, stranger) == "VALID"
        assert check(server, OURS, friend) == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "tls.crt").unlink(), "tls.certificate: .*tls.crt: cannot be"),
        (lambda folder: (folder / "tls.key").write_text("no"), "no PEM certificate and its key"),
        (lambda folder: (folder / "tls.key").write_bytes(OURS.key), "certificate and its key"),
        (lambda folder: (folder / "ca.crt").write_text("no"), "tls.client_authority: .*ca.crt"),
    ],
)
def test_wrong_files_are_named_at_the_start(
    tiny_bundle: Path, tmp_path: Path, change: Any, message: str
) -> None:
    (tmp_path / "ca.crt").write_bytes(OURS.chain)
    options = settings(tmp_path, client_authority=tmp_path / "ca.crt")
    change(tmp_path)
    command = [*SERVE, str(tiny_bundle), *FREE_PORTS, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert re.search(message, done.stderr)


@pytest.mark.parametrize(("host", "warnings"), [("127.0.0.1", 0), ("0.0.0.0", 1)])
def test_an_open_address_is_warned_of(
    tiny_bundle: Path, tmp_path: Path, host: str, warnings: int
) -> None:
    log = tmp_path / "log"
    with running(tiny_bundle, "--host", host, log=log):
        pass
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sum("not encrypted" in line["message"] for line in lines) == warnings
