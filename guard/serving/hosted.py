"""A bundle that is being served: its engine, its queue, its metrics, and its name."""

import asyncio
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from guard.bundle import load_bundle
from guard.errors import BadInput
from guard.serving.batching import Batcher
from guard.serving.config import ServeSettings
from guard.serving.engine import Engine
from guard.serving.images import ImageSpec
from guard.serving.metrics import Metrics
from guard.serving.verdict import Judged

__all__ = ["HostedModel"]


class HostedModel:
    """Verify, load and warm up a bundle, and start its batcher.

    Raises:
        BadBundle: the bundle must not be loaded, or its graph does not run.
    """

    def __init__(self, folder: Path, settings: ServeSettings, metrics: Metrics, name: str) -> None:
        bundle = load_bundle(folder, settings.public_key)
        self.manifest = bundle.manifest
        self.name = name
        self.fingerprint = bundle.manifest.digest
        # In decimal: Triton's versions are numbers, and perf_analyzer ends at one that is not.
        self.version = str(int(self.fingerprint[:12], 16))
        self.spec = ImageSpec.of(self.manifest, settings.limits.pixels)
        self.batching, self.max_batch = settings.batching, settings.batching.max_batch
        self.instances, self.ready = 1, True
        self._requests = 0
        self._engine = Engine(bundle, self.spec, settings.threads, settings.precision)
        self.device, self.threshold = self._engine.device, self._engine.threshold
        self.filename = self.manifest.graph(settings.precision)[0]
        self._metrics = metrics.of_model(self.name, self.version, self.fingerprint, self.device)
        self.statistics = self._metrics.statistics
        self._batcher = Batcher(self._run, settings.batching, self._waited)

    @classmethod
    async def open(
        cls, folder: Path, settings: ServeSettings, metrics: Metrics, name: str
    ) -> "HostedModel":
        """Make one, beside the event loop."""
        return await asyncio.to_thread(cls, folder, settings, metrics, name)

    async def judge(
        self,
        images: NDArray[np.float32],
        threshold: float | None,
        seconds: float | None,
        priority: int = 0,
    ) -> Judged:
        """Judge checked images `[batch, channel, height, width]` within so many seconds.

        `threshold` None is the calibrated one. A cancelled call drops the request.

        Raises:
            BadInput: too many images, or the threshold is not finite.
            Rejection: overloaded, expired or stopping.
        """
        if len(images) > self.max_batch:
            raise BadInput(f"{len(images)} images; at most {self.max_batch} are allowed at once")
        threshold = self.threshold if threshold is None else _finite(threshold)
        deadline = None if seconds is None else time.monotonic() + seconds
        judged = await asyncio.wrap_future(self._batcher.submit(images, threshold, deadline))
        self._metrics.answered(judged)
        return judged

    async def close(self, seconds: float) -> None:
        """Take no more requests, and answer what waits, for so many seconds at most."""
        await asyncio.to_thread(self._batcher.close, seconds)

    def _waited(self, seconds: float) -> None:
        """Count a request that is about to be run; the run itself follows on the same thread."""
        self._metrics.waited(seconds)
        self._requests += 1

    def _run(self, images: NDArray[np.float32], threshold: float) -> Judged:
        start = time.perf_counter()
        judged = self._engine.run(images, threshold)
        self._metrics.ran(judged, time.perf_counter() - start, self._requests)
        self._requests = 0
        return judged


def _finite(threshold: float) -> float:
    if not abs(threshold) <= np.finfo(np.float32).max:  # false for NaN as well
        raise BadInput(f"threshold: {threshold}; a finite float32 is wanted")
    return threshold
