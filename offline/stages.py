"""Stages of a run: each has a folder, whole or absent, reused when nothing has changed."""

import fcntl
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from guard.errors import CornerguardError
from guard.progress import CONSOLE
from guard.storage import replace_directory, write_json

__all__ = ["Run"]

VERSION = version("cornerguard")


class Run:
    """The folder of one recipe's run, `runs/NAME`, with one folder for each finished stage.

    A stage is finished when its folder is there and its marker, `.stages/STAGE.json`, carries the
    key of what it was made from: its settings, its data, the stages before it, and the version of
    cornerguard. The marker goes before the folder is replaced and comes after it; anything in
    between is made anew.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys: dict[str, str] = {}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run's folder; a second process that wants it is refused, not mixed in."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CornerguardError(f"{self.folder}: another process is at work there") from None
            yield

    def stage(
        self, name: str, made_from: Any, make: Callable[[Path], None], after: tuple[str, ...] = ()
    ) -> Path:
        """Return the folder of the stage, calling `make(folder)` unless it is there and current.

        `made_from` is whatever settings and sums decide the result, as JSON values; `after` names
        the stages whose folders `make` reads.
        """
        content = [name, VERSION, made_from, [self.keys[before] for before in after]]
        key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        self.keys[name] = key
        folder, marker = self.folder / name, self.folder / ".stages" / f"{name}.json"
        if folder.is_dir() and _key_of(marker) == key:
            CONSOLE.print(f"[dim]{name}: reused[/dim]")
            return folder
        CONSOLE.print(f"[bold]{name}[/bold]")
        start = time.monotonic()
        marker.unlink(missing_ok=True)
        with replace_directory(folder) as aside:
            make(aside)
        seconds = round(time.monotonic() - start, 1)
        marker.parent.mkdir(exist_ok=True)
        write_json(marker, {"key": key, "seconds": seconds})
        self._clear_checkpoints(name)
        CONSOLE.print(f"{name}: done in {seconds:.0f} s", highlight=False)
        return folder

    def checkpoint(self, name: str) -> Path:
        """Return where the stage at work may keep what lets it go on after an interruption."""
        return self.folder / ".checkpoints" / f"{name}-{self.keys[name][:16]}"

    def forget(self, name: str) -> None:
        """Let the stage begin anew: it counts as never finished, and what it had kept is gone."""
        (self.folder / ".stages" / f"{name}.json").unlink(missing_ok=True)
        self._clear_checkpoints(name)

    def seconds(self) -> dict[str, float]:
        """Return how long each finished stage took, in seconds."""
        markers = sorted((self.folder / ".stages").glob("*.json"))
        return {marker.stem: json.loads(marker.read_text())["seconds"] for marker in markers}

    def _clear_checkpoints(self, name: str) -> None:
        for left in (self.folder / ".checkpoints").glob(f"{name}-*"):
            shutil.rmtree(left, ignore_errors=True)


def _key_of(marker: Path) -> str | None:
    try:
        return str(json.loads(marker.read_text(encoding="utf-8"))["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
