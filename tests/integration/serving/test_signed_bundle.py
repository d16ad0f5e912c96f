"""A server that is given a public key serves what was signed with its pair, and nothing else."""

import subprocess
from pathlib import Path

import pytest

from export.signature import sign_bundle
from guard.client import GuardClient
from tests.integration.serving.running import FREE_PORTS, PATIENCE, SERVE, running
from tests.unit.export.signing_keys import Keys, write_keys
from tests.unit.serving.tiny_bundle import image_of, write_bundle


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return write_keys(tmp_path / "keys")


@pytest.fixture
def signed(tmp_path: Path, keys: Keys) -> Path:
    folder = write_bundle(tmp_path / "tiny")
    sign_bundle(folder, keys.private)
    return folder


def test_the_right_key_serves(signed: Path, keys: Keys) -> None:
    with running(signed, "--public-key", str(keys.public)) as server:
        assert server.get("/readyz") == (200, "ready\n")
        with GuardClient(server.grpc) as client:
            assert client.check(image_of(0.2)).verdict == "VALID"
            assert client.check(image_of(0.8)).verdict == "CORNER_CASE"
        assert server.line["model"] == "tiny"


def test_another_key_refuses_before_it_listens(signed: Path, tmp_path: Path) -> None:
    stranger = write_keys(tmp_path / "stranger").public
    command = [*SERVE, str(signed), *FREE_PORTS, "--public-key", str(stranger)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert f"{signed / 'model.sig'}: does not verify with {stranger}" in line
