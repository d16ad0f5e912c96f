"""A bundle that is being served: its workers, its queue, its metrics, and its name."""

import asyncio
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guard.bundle import Bundle, load_bundle
from guard.errors import BadInput
from guard.serving import tracing
from guard.serving.batching import Batcher
from guard.serving.config import ServeSettings
from guard.serving.graph import Graph, read_graph
from guard.serving.images import ImageSpec
from guard.serving.instance import SLOTS, Instance
from guard.serving.metrics import Metrics
from guard.serving.order import Order
from guard.serving.shared import Layout, Slot, anonymous_file
from guard.serving.verdict import Judged

__all__ = ["HostedModel"]


class HostedModel:
    """A model that runs; `open` makes one.

    Attributes:
        name, version, fingerprint, manifest: of the bundle.
        spec: what its model takes.
        batching, instances: how it is run; `max_batch` is the most images of a request.
        filename, threshold: the graph that runs, and its calibrated threshold.
    """

    def __init__(self, bundle: Bundle, graph: Graph, name: str, settings: ServeSettings) -> None:
        self.manifest = bundle.manifest
        self.name, self.fingerprint = name, bundle.manifest.digest
        # In decimal: Triton's versions are numbers, and perf_analyzer ends at one that is not.
        self.version = str(int(self.fingerprint[:12], 16))
        self.spec = ImageSpec.of(self.manifest, settings.limits.pixels)
        self.batching = settings.batching
        self.max_batch = min(self.batching.max_batch, self.batching.queue)
        self.instances = settings.instances.count
        self.threshold, self._graph = graph.threshold, graph
        self.filename = next(iter(graph.files))
        self._instances = [
            _instance(graph, self.spec, settings) for _ in range(settings.instances.count)
        ]
        self._batcher = Batcher(
            settings.batching,
            settings.instances.outage_seconds,
            (graph.classes, graph.layers),
        )

    @classmethod
    async def open(
        cls, folder: Path, settings: ServeSettings, metrics: Metrics, name: str | None = None
    ) -> "HostedModel":
        """Verify a bundle, and start the workers that run it; return when all are ready.

        Raises:
            BadBundle: the bundle must not be loaded, or its graph does not run.
            CornerguardError: the accelerator cannot be used, or a worker does not start.
        """
        name = name or settings.name or folder.resolve().name
        bundle, graph = await asyncio.to_thread(_verified, folder, settings)
        model = None
        try:
            model = cls(bundle, graph, name, settings)
            await model._start(metrics)
        except BaseException:
            if model:
                await model.close(0.0)
            else:
                graph.close()
            raise
        return model

    @property
    def ready(self) -> bool:
        """Whether a worker lives."""
        return any(instance.alive for instance in self._instances)

    @property
    def full(self) -> str:
        """Why no request would be taken; empty if one may be."""
        return self._batcher.full

    @property
    def device(self) -> str:
        """`cpu`, `cuda` or `tensorrt`."""
        return self._instances[0].device

    @property
    def workers(self) -> list[int]:
        """The processes of the workers."""
        return [instance.pid for instance in self._instances if instance.pid is not None]

    async def judge(
        self,
        images: NDArray[Any],
        threshold: float | None,
        seconds: float | None,
        priority: int = 0,
    ) -> Judged:
        """Judge checked images `[batch, channel, height, width]` within so many seconds.

        They are float32 or float16 in [0, 1], or uint8. `threshold` None is the calibrated one, and
        a higher priority goes first. A cancelled call drops the request.

        Raises:
            BadInput: too many images or bytes, or the threshold is not finite.
            Rejection: overloaded, expired, unready or stopping.
        """
        if len(images) > self.max_batch:
            raise BadInput(f"{len(images)} images; at most {self.max_batch} are allowed at once")
        most = self.batching.queue_bytes  # for more there will never be room
        if images.nbytes > most:
            raise BadInput(f"{images.nbytes} bytes of images; at most {most} are allowed at once")
        threshold = self.threshold if threshold is None else _finite(threshold)
        deadline = None if seconds is None else time.monotonic() + seconds
        request = self._batcher.submit(images, threshold, deadline, priority)
        try:
            judged = await request.answer
        except asyncio.CancelledError:
            self._batcher.drop(request)
            raise
        ended = time.monotonic()
        tracing.ran(request.since, max(request.since, ended - judged.seconds), ended)
        return judged

    async def close(self, seconds: float) -> None:
        """Take no more requests, answer what waits, for so many seconds at most, and end."""
        await self._batcher.close(seconds)
        for instance in self._instances:
            await instance.stop()
        self._graph.close()

    async def _start(self, metrics: Metrics) -> None:
        first, *others = self._instances
        await first.start(self._batcher)  # whatever is wrong with a bundle, one can say
        started = await asyncio.gather(
            *(other.start(self._batcher) for other in others), return_exceptions=True
        )
        for error in started:
            if error:
                raise error
        own = metrics.of_model(self.name, self.version, self.fingerprint, self.device)
        self._batcher.attach(self._instances, own)
        self.statistics = own.statistics


def _verified(folder: Path, settings: ServeSettings) -> tuple[Bundle, Graph]:
    bundle = load_bundle(folder, settings.public_key)
    return bundle, read_graph(bundle, settings.precision)


def _instance(graph: Graph, spec: ImageSpec, settings: ServeSettings) -> Instance:
    batching, instances = settings.batching, settings.instances
    layout = Layout(graph.classes, graph.layers, batching.max_batch)
    size = batching.batch_bytes
    if spec.height and spec.width:
        size = min(size, 4 * batching.max_batch * math.prod(graph.image))
    slots = [Slot(anonymous_file(), layout, size) for _ in range(SLOTS)]
    order = Order(
        socket=-1,
        slots=tuple(slot.file for slot in slots),
        graph=graph,
        max_batch=batching.max_batch,
        threads=settings.threads or max(1, _cores() // instances.count),
        accelerator=instances.accelerator,
        cpu_fallback=instances.cpu_fallback,
        log_level=settings.logs.level,
    )
    return Instance(order, slots, instances)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _finite(threshold: float) -> float:
    if not abs(threshold) <= float(np.finfo(np.float32).max):  # false for NaN as well
        raise BadInput(f"threshold: {threshold}; a finite float32 is wanted")
    return threshold
