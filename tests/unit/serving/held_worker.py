"""A worker that a test holds, and cases that are played with it and a batcher."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import numpy as np
from numpy.typing import NDArray

from guard.serving.batches import Batch, Request
from guard.serving.batching import Batcher
from guard.serving.instance import SLOTS
from guard.serving.metrics import Metrics
from guard.serving.model_settings import Batching
from guard.serving.verdict import Outputs, judge

__all__ = ["Worker", "images", "play", "scores"]

OUTAGE = 0.05


class Worker:
    """Holds batches until it is told to run the first. An image's score is its mean."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher, self.held = batcher, deque[Batch]()
        self.runs: list[tuple[NDArray[np.float32], float]] = []
        self.alive = True

    @property
    def room(self) -> int:
        return SLOTS - len(self.held) if self.alive else 0

    @property
    def idle(self) -> bool:
        return self.alive and not self.held

    def run(self, batch: Batch) -> None:
        self.held.append(batch)

    def finish(self) -> None:
        batch = self.held.popleft()
        images = np.empty(batch.shape, np.float32)
        batch.fill(images)
        self.runs.append((images, batch.threshold))
        score = images.mean(axis=(1, 2, 3))
        one = np.ones((len(images), 1), np.float32)
        label = np.zeros(len(images), np.int64)
        outputs = Outputs(one, label, one, score, score, score <= np.float32(batch.threshold))
        self._batcher.done(batch, judge(outputs, batch.threshold))
        self._batcher.changed()

    def finish_all(self) -> None:
        while self.held:
            self.finish()

    def raise_error(self) -> None:
        self._batcher.failed(self.held.popleft(), "the run failed")
        self._batcher.changed()

    def die(self) -> None:
        self.alive = False
        held, self.held = self.held, deque()
        self._batcher.killed(held.popleft(), "the worker ended")
        for batch in held:
            self._batcher.returned(batch)
        self._batcher.changed()

    def revive(self) -> None:
        self.alive = True
        self._batcher.changed()

    @property
    def sizes(self) -> list[int]:
        return [len(images) for images, _ in self.runs]


Case = Callable[[Batcher, Worker], Awaitable[None]]


def play(case: Case, **limits: object) -> Worker:
    """Run a case in an event loop, with one worker."""

    async def run() -> Worker:
        settings = {"max_batch": 4, "queue": 6, "patience": 60} | limits
        batcher = Batcher(Batching(**settings), OUTAGE, widths=(1, 1))
        worker = Worker(batcher)
        batcher.attach([worker], Metrics().of_model("tiny", "1", "f", "cpu"))
        await case(batcher, worker)
        return worker

    return asyncio.run(run())


def images(*levels: float, size: int = 2, kind: type = np.float32) -> NDArray[np.generic]:
    return np.stack([np.full((1, size, size), level, kind) for level in levels])


def scores(request: Request) -> list[float]:
    return [round(score, 3) for score in request.answer.result().outputs.score.tolist()]
