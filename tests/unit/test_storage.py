"""A reader sees the old content or the new, whatever kills the writer."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from guard.storage import replace_directory, sha256_of, write_json, write_text


def test_a_folder_appears_whole_and_replaces_the_old(tmp_path: Path) -> None:
    target = tmp_path / "stage"
    for content in ("old", "new"):
        with replace_directory(target) as aside:
            (aside / "deep").mkdir()
            (aside / "deep" / "file").write_text(content)
            assert not target.exists() or (target / "deep" / "file").read_text() == "old"
        assert (target / "deep" / "file").read_text() == content
    assert [path.name for path in tmp_path.iterdir()] == ["stage"]


def test_an_error_leaves_the_old_folder_and_no_rest(tmp_path: Path) -> None:
    target = tmp_path / "stage"
    target.mkdir()
    (target / "file").write_text("old")

    def interrupted() -> None:
        with replace_directory(target) as aside:
            (aside / "file").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (target / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["stage"]


def test_kill_9_leaves_the_old_folder_and_the_next_writer_cleans_up(tmp_path: Path) -> None:
    target = tmp_path / "stage"
    target.mkdir()
    (target / "file").write_text("old")
    program = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from guard.storage import replace_directory\n"
        "with replace_directory(Path(sys.argv[1])) as aside:\n"
        "    (aside / 'file').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(target)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (target / "file").read_text() == "old"
    with replace_directory(target) as aside:
        assert list(aside.iterdir()) == []
        (aside / "file").write_text("new")
    assert (target / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["stage"]


def test_killed_between_the_renames_the_old_folder_is_taken_back(tmp_path: Path) -> None:
    (tmp_path / ".stage.old").mkdir()
    (tmp_path / ".stage.old" / "file").write_text("old")
    with pytest.raises(ZeroDivisionError), replace_directory(tmp_path / "stage"):
        raise ZeroDivisionError
    assert (tmp_path / "stage" / "file").read_text() == "old"


def test_text_and_json_are_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_text(file, "old")
    write_json(file, {"a": 1})
    assert file.read_text() == '{\n  "a": 1\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        write_json(file, float("nan"))
    assert file.read_text() == '{\n  "a": 1\n}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_sha256_agrees_with_hashlib(tmp_path: Path) -> None:
    content = os.urandom((1 << 20) + 17)
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()
