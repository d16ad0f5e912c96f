"""One name that clients can call, and the bundle behind it: loaded, replaced and given up."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from guard.bundle import load_bundle
from guard.bundle_files import MANIFEST_NAME
from guard.errors import BadBundle, CornerguardError
from guard.serving.changed_files import Stamp, stamp
from guard.serving.config import ServeSettings
from guard.serving.hosted import HostedModel
from guard.serving.lent_model import LentModel
from guard.serving.metrics import Metrics
from guard.serving.rejections import UnknownModel

__all__ = ["ModelSlot"]

log = logging.getLogger(__name__)
ABSENT: Stamp = (None,)
ATTEMPTS = 5
PAUSE = 0.1
"""Seconds between two attempts; a bundle is replaced by two renames, which take far less."""


class ModelSlot:
    """A model by its name, whichever version serves.

    A bundle that does not verify or does not run leaves the old one in its place. Requests that
    were begun on the old one end on it; then it is closed.

    Args:
        name: what clients call it.
        folder: the bundle; whoever replaces it does so by a rename.
        settings: of this model.
        metrics: the server's.

    Attributes:
        reason: why nothing serves, or why the last bundle was refused; else empty.
        loading: whether a bundle is being loaded.
    """

    def __init__(self, name: str, folder: Path, settings: ServeSettings, metrics: Metrics) -> None:
        self.name, self.reason, self.loading = name, "not loaded yet", False
        self._folder, self._settings, self._metrics = folder, settings, metrics
        self._manifest = folder / MANIFEST_NAME
        self._lent: LentModel | None = None
        self._seen: Stamp = ABSENT
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def model(self) -> HostedModel | None:
        """What serves, if anything does."""
        return self._lent.model if self._lent else None

    def use(self) -> AbstractContextManager[HostedModel]:
        """Lend the model for one request, and count how the request ends.

        Raises:
            UnknownModel: nothing serves.
        """
        if self._lent is None:
            raise UnknownModel(f"model {self.name!r} is not loaded: {self.reason}")
        return self._lent.use()

    def changed(self) -> bool:
        """Whether a bundle lies there that was neither loaded nor refused before."""
        return stamp(self._manifest) not in (ABSENT, self._seen)

    async def load(self) -> None:
        """Verify the bundle, and serve it in place of the old one if it is another.

        Raises:
            CornerguardError: it is refused; the old one goes on.
        """
        await self._finish(self._load())

    async def unload(self) -> None:
        """Take no more requests, and return when those that were taken are answered."""
        await self._finish(self._unload())

    async def close(self, seconds: float) -> None:
        """Refuse what comes, and answer what waits, for so many seconds at most.

        So long an old bundle that is still being given up may take, too.
        """
        closing = [self._start(self.model.close(seconds))] if self.model is not None else []
        if tasks := {*closing, *self._tasks}:
            await asyncio.wait(tasks, timeout=seconds)

    async def _finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it to its end, even if the caller who asked for it goes away."""
        await asyncio.shield(self._start(work))

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # who asked for it may be gone; it is logged and counted already

    async def _load(self) -> None:
        async with self._lock:
            self.loading = True
            try:
                outcome = await self._load_steadily()
            except Exception as error:
                self.reason = " ".join(str(error).split())
                self._metrics.reloads.labels(self.name, "failed").inc()
                if self.model is not None:
                    log.error("model %s: the old bundle serves on: %s", self.name, self.reason)
                raise
            finally:
                self.loading = False
            self.reason = ""
            self._metrics.reloads.labels(self.name, outcome).inc()

    async def _load_steadily(self) -> str:
        """Load a bundle that is not replaced meanwhile: files of two would not fit together."""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(PAUSE)
            before = stamp(self._manifest)
            try:
                fresh = await self._open_if_new()
            except (CornerguardError, OSError) as error:
                failure: Exception | None = error
            else:
                failure = None
            if before == ABSENT or stamp(self._manifest) != before:
                if failure is None and fresh is not None:
                    await self._close(fresh)
                continue
            self._seen = before
            if failure is not None:
                raise _named(failure, self._folder)
            if fresh is None:
                return "unchanged"
            self._replace(fresh)
            return "loaded"
        raise (
            _named(failure, self._folder)
            if failure
            else BadBundle(f"{self._folder}: was replaced {ATTEMPTS} times while it was loaded")
        )

    async def _open_if_new(self) -> HostedModel | None:
        """Return the model of the bundle; None if it serves already, and is whole on the disk."""
        model = self.model
        if model is not None and model.ready:
            key = self._settings.public_key
            bundle = await asyncio.to_thread(load_bundle, self._folder, key)
            if bundle.manifest.digest == model.fingerprint:
                return None
        return await HostedModel.open(self._folder, self._settings, self._metrics, self.name)

    def _replace(self, fresh: HostedModel) -> None:
        old, self._lent = self._lent, LentModel(fresh)
        log.info("model %s: version %s serves", self.name, fresh.version)
        if old is not None:
            self._start(self._retire(old))

    async def _unload(self) -> None:
        async with self._lock:
            old, self._lent = self._lent, None
            self.reason = "unloaded"
        if old is not None:
            await self._retire(old)

    async def _retire(self, old: LentModel) -> None:
        await old.returned()
        await self._close(old.model)
        log.info("model %s: version %s is closed", self.name, old.model.version)

    async def _close(self, model: HostedModel) -> None:
        await model.close(self._settings.shutdown.grace)
        current = self.model
        if current is None or current.fingerprint != model.fingerprint:
            self._metrics.withdraw(self.name, model.fingerprint)


def _named(failure: Exception, folder: Path) -> Exception:
    if isinstance(failure, OSError):
        return BadBundle(f"{failure.filename or folder}: cannot be read: {failure.strerror}")
    return failure
