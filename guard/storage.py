"""Files that are whole or absent: written aside, flushed, renamed."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

__all__ = [
    "link_tree",
    "replace_directory",
    "replace_file",
    "sha256_of",
    "write_json",
    "write_text",
]


@contextmanager
def replace_directory(target: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` when the block ends without an error.

    A reader sees the old folder or the new one, never a part of either. What a killed writer left
    behind lies under another name and is removed by the next writer.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside, old = (target.with_name(f".{target.name}.{word}") for word in ("partial", "old"))
    if old.exists() and not target.exists():  # killed between the two renames below
        old.rename(target)
    for leftover in (aside, old):
        shutil.rmtree(leftover, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    for path in aside.rglob("*"):
        if path.is_file():
            _flush(path)
    _flush(aside)
    if target.exists():
        target.rename(old)
    aside.rename(target)
    _flush(target.parent)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def replace_file(target: Path) -> Iterator[Path]:
    """Yield the name of a new file that becomes `target` when the block ends without an error.

    Two who write the same file at once do not mix: each has a name of its own.
    """
    aside = target.with_name(f".{target.name}.{uuid4().hex}.partial")
    try:
        yield aside
        _flush(aside)
        aside.replace(target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` so that a reader sees the old content or the new, never a part."""
    aside = path.with_name(f".{path.name}.partial")
    aside.write_text(text, encoding="utf-8")
    _flush(aside)
    aside.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def link_tree(source: Path, target: Path) -> None:
    """Give every file under `source` a second name under `target`, or copy it where that fails."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            name = target / path.relative_to(source)
            name.parent.mkdir(parents=True, exist_ok=True)
            try:
                name.hardlink_to(path)
            except OSError:  # some disks have no second names
                shutil.copy2(path, name)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as lower-case hexadecimal, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
