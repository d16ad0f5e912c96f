"""Dynamic batching: what waits together runs together, and nobody waits for company."""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from guard.serving.config import Batching
from guard.serving.rejections import Expired, Overloaded, Stopping
from guard.serving.verdict import Judged

__all__ = ["Batcher"]

Images = NDArray[np.float32]


@dataclass(frozen=True)
class _Waiting:
    images: Images
    threshold: float
    deadline: float | None
    answer: "Future[Judged]" = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)

    @property
    def kind(self) -> tuple[tuple[int, ...], float]:
        """Only requests of one kind share a run."""
        return self.images.shape[1:], self.threshold


class Batcher:
    """Gathers requests into runs on a thread of its own.

    As soon as the model is free, everything of one kind (image size and threshold) that waits is
    run, oldest first, up to `max_batch` images. An idle model takes a request at once.

    Args:
        run: `run(images, threshold)` judges a batch.
        batching: the limits.
        queued: is told how many seconds each request waited.
    """

    def __init__(
        self,
        run: Callable[[Images, float], Judged],
        batching: Batching,
        queued: Callable[[float], None],
    ) -> None:
        self._run, self._limits, self._queued = run, batching, queued
        self._waiting: deque[_Waiting] = deque()
        self._images = 0
        self._open = True
        self._changed = threading.Condition()
        self._worker = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._worker.start()

    def submit(
        self, images: Images, threshold: float, deadline: float | None = None
    ) -> "Future[Judged]":
        """Queue 1 to `max_batch` images; cancel the future to drop them while they wait.

        Args:
            images: `[batch, channel, height, width]`.
            threshold: of the joint discrepancy.
            deadline: by `time.monotonic()`; the request is not run after it, and its future then
                raises `Expired`.

        Raises:
            Overloaded: the queue is full.
            Stopping: the batcher is closed.
        """
        request = _Waiting(images, threshold, deadline)
        with self._changed:
            if not self._open:
                raise Stopping("the server is stopping")
            if self._images + len(images) > self._limits.queue:
                raise Overloaded(f"{self._images} of at most {self._limits.queue} images wait")
            self._waiting.append(request)
            self._images += len(images)
            self._changed.notify()
        return request.answer

    def close(self, seconds: float | None = None) -> None:
        """Take no more requests, and run those that wait; return after so many seconds at most."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._worker.join(seconds)

    def _work(self) -> None:
        while True:
            with self._changed:
                while self._open and not self._waiting:
                    self._changed.wait()
                if not self._waiting:
                    return
                batch = self._take()
            if batch:
                self._answer(batch)

    def _take(self) -> list[_Waiting]:
        """Remove the next batch from the queue, and what expired or was cancelled meanwhile."""
        now = time.monotonic()
        batch: list[_Waiting] = []
        left: deque[_Waiting] = deque()
        room = self._limits.max_batch
        for request in self._waiting:
            if batch and (request.kind != batch[0].kind or len(request.images) > room):
                left.append(request)
                room = room if request.kind != batch[0].kind else 0  # none overtakes its like
                continue
            self._images -= len(request.images)
            if not request.answer.set_running_or_notify_cancel():
                continue
            if request.deadline is not None and now > request.deadline:
                request.answer.set_exception(Expired("the deadline passed in the queue"))
                continue
            batch.append(request)
            room -= len(request.images)
        self._waiting = left
        for request in batch:
            self._queued(now - request.since)
        return batch

    def _answer(self, batch: list[_Waiting]) -> None:
        try:
            for request, judged in zip(batch, self._judge(batch), strict=True):
                request.answer.set_result(judged)
        except Exception as error:  # no caller may wait for ever, and this thread must live on
            for request in batch:
                if not request.answer.done():
                    request.answer.set_exception(error)

    def _judge(self, batch: list[_Waiting]) -> list[Judged]:
        threshold = batch[0].threshold
        if len(batch) == 1:
            return [self._run(batch[0].images, threshold)]
        together = self._run(np.concatenate([request.images for request in batch]), threshold)
        ends = list(accumulate(len(request.images) for request in batch))
        return [together.part(start, end) for start, end in pairwise([0, *ends])]
