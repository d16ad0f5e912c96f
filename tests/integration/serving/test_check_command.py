"""`cornerguard check` by a server: the same lines as by a bundle here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.serving.running import PATIENCE, Running
from tests.integration.serving.test_guard_service import encoded
from tests.unit.serving.tiny_bundle import write_bundle

LEVELS = {0.2: "VALID", 0.5: "VALID", 0.8: "CORNER_CASE", 1.0: "UNVERIFIED"}


def command(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "guard", "check", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("form", [["--json"], []])
def test_the_command_prints_the_same_by_a_server(
    server: Running, tmp_path: Path, form: list[str]
) -> None:
    bundle, images = write_bundle(tmp_path / "tiny"), []
    for level in LEVELS:
        images.append(str(tmp_path / f"{level}.png"))
        Path(images[-1]).write_bytes(encoded(level))
    local = command(str(bundle), *images, *form)
    remote = command("--server", server.grpc, "--model", "tiny", *images, *form)
    assert local == remote
    assert local[0] == 0
    if form:
        verdicts = [json.loads(line)["verdict"] for line in remote[1].splitlines()]
        assert verdicts == list(LEVELS.values())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["photo.png"], 2, "a BUNDLE and at least one IMAGE are wanted, or --server"),
        (["tiny", "photo.png", "--model", "x"], 2, "are options of --server"),
        (["--server", "127.0.0.1:1", "--precision", "int8", "x.png"], 2, "the server's own"),
        (["--server", "127.0.0.1:1", "none.png"], 2, "none.png: cannot be read"),
        (["--server", "nowhere", "x.png"], 2, "HOST:PORT is wanted"),
        (["--server", "127.0.0.1:1", "--timeout", "2", __file__], 1, "UNAVAILABLE"),
        (["--server", "far.example:1", "--token-file", __file__, "x.png"], 2, "without TLS"),
    ],
)
def test_the_commands_mistakes_are_one_line(arguments: list[str], code: int, message: str) -> None:
    ended, output, errors = command(*arguments)
    assert (ended, output) == (code, "")
    assert message in errors
    assert len(errors.splitlines()) == 1
