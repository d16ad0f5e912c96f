"""A bundle that is being served: its engine, its queue, its metrics, and its name."""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from guard.bundle import load_bundle
from guard.errors import BadInput, nearest
from guard.serving.batching import Batcher
from guard.serving.config import ServeSettings
from guard.serving.engine import Engine
from guard.serving.images import ImageSpec
from guard.serving.metrics import Metrics
from guard.serving.rejections import UnknownModel
from guard.serving.verdict import Judged

__all__ = ["HostedModel", "Models"]


class HostedModel:
    """Verify, load and warm up a bundle, and start its batcher.

    Raises:
        BadBundle: the bundle must not be loaded, or its graph does not run.
    """

    def __init__(self, folder: Path, settings: ServeSettings, metrics: Metrics) -> None:
        bundle = load_bundle(folder, settings.public_key)
        self.manifest = bundle.manifest
        self.name = settings.name or folder.resolve().name
        self.fingerprint = bundle.manifest.digest
        self.version = self.fingerprint[:12]
        self.spec = ImageSpec.of(self.manifest, settings.limits.pixels)
        self.max_batch = settings.batching.max_batch
        self._engine = Engine(bundle, self.spec, settings.threads, settings.precision)
        self.device = self._engine.device
        self._metrics = metrics.of_model(self.name, self.version, self.fingerprint, self.device)
        self._batcher = Batcher(self._run, settings.batching, self._metrics.queue.observe)

    async def judge(
        self, images: NDArray[np.float32], threshold: float | None, seconds: float | None
    ) -> Judged:
        """Judge checked images `[batch, channel, height, width]` within so many seconds.

        `threshold` None is the calibrated one. A cancelled call drops the request.

        Raises:
            BadInput: too many images, or the threshold is not finite.
            Rejection: overloaded, expired or stopping.
        """
        if len(images) > self.max_batch:
            raise BadInput(f"{len(images)} images; at most {self.max_batch} are allowed at once")
        threshold = self._engine.threshold if threshold is None else _finite(threshold)
        deadline = None if seconds is None else time.monotonic() + seconds
        judged = await asyncio.wrap_future(self._batcher.submit(images, threshold, deadline))
        self._metrics.answered(judged)
        return judged

    def close(self, seconds: float | None = None) -> None:
        """Take no more requests, and answer what waits, for so many seconds at most."""
        self._batcher.close(seconds)

    def _run(self, images: NDArray[np.float32], threshold: float) -> Judged:
        start = time.perf_counter()
        judged = self._engine.run(images, threshold)
        self._metrics.ran(judged, time.perf_counter() - start)
        return judged


class Models:
    """The models that are served, by name."""

    def __init__(self, models: Iterable[HostedModel]) -> None:
        self._models = {model.name: model for model in models}

    def find(self, name: str, version: str = "") -> HostedModel:
        """Return a model; an empty name is that of the only model, an empty version its own.

        Raises:
            UnknownModel: no such model or version is served.
        """
        only = next(iter(self._models.values())) if len(self._models) == 1 else None
        model = self._models.get(name) if name else only
        if model is None:
            raise UnknownModel(f"no model {name!r}{nearest(name, self._models)}")
        if version not in ("", model.version):
            raise UnknownModel(f"model {name!r} has version {model.version}, not {version!r}")
        return model


def _finite(threshold: float) -> float:
    if not abs(threshold) <= float(np.finfo(np.float32).max):  # false for NaN as well
        raise BadInput(f"threshold: {threshold}; a finite float32 is wanted")
    return threshold
