"""Dynamic batching: what waits together runs together, and no idle worker waits for company."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from guard.serving.answering import EXPIRED, settle, share, wanted
from guard.serving.batches import Batch, Part, Request
from guard.serving.metrics import ModelMetrics
from guard.serving.model_settings import Batching
from guard.serving.outage import Outage
from guard.serving.rejections import Expired, Rejection, Stopping, Unready
from guard.serving.runners import Runner
from guard.serving.verdict import UNVERIFIED, Judged
from guard.serving.waiting import Queue

__all__ = ["Batcher"]

log = logging.getLogger(__name__)
TRIES = 2
"""How often a batch is given to a worker that ends with it; then its images run one by one."""
REFUSALS: dict[type[Rejection], str] = {
    Stopping: "the server is stopping",
    Unready: "no worker of the model lives; one is being started",
}


class Batcher:
    """Gives runs to whichever instance is free. All in one event loop, so that nothing is locked.

    A request goes to an idle instance at once, with all that waits of its kind (image size and
    threshold). A busy one gets its next run ahead of time only when that has no more room.

    Args:
        limits: of batches and of what waits.
        outage: seconds that requests wait when no instance lives.
        widths: of `logits` and `discrepancy`.
    """

    def __init__(self, limits: Batching, outage: float, widths: tuple[int, int]) -> None:
        self._outage = Outage(outage, lambda: self._refuse(Unready))
        self._widths = widths
        self._queue = Queue(limits)
        self._again: deque[Batch] = deque()
        self._runners: Sequence[Runner] = ()
        self._running: set[Batch] = set()
        self._closed = False
        self._alarm: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def full(self) -> str:
        """Why no request would be taken; empty if one may be."""
        return self._queue.full

    def attach(self, runners: Sequence[Runner], metrics: ModelMetrics) -> None:
        """Say who runs the batches, and who is told of every run and answer."""
        self._runners, self._metrics = runners, metrics
        self.changed()

    def submit(
        self,
        images: NDArray[Any],
        threshold: float,
        deadline: float | None = None,
        priority: int = 0,
    ) -> Request:
        """Queue 1 to `max_batch` images; the request's answer is awaited, or `drop` called.

        Args:
            images: `[batch, channel, height, width]`, float32 or float16 in [0, 1], or uint8.
            threshold: of the joint discrepancy.
            deadline: by `time.monotonic()`; the request is not run after it, and its answer is
                then `Expired`.
            priority: higher goes first.

        Raises:
            Overloaded: there is no room.
            Stopping: the batcher is closed.
            Unready: no instance has lived for a while.
        """
        if self._closed or self._outage.long:
            kind = Stopping if self._closed else Unready
            raise kind(REFUSALS[kind])
        request = Request(images, threshold, deadline, priority)
        self._queue.add(request)
        self._idle.clear()
        self._pump()
        if deadline is not None and request in self._queue:
            loop = asyncio.get_running_loop()
            request.timer = loop.call_at(deadline, self._expire, request)
        return request

    def drop(self, request: Request) -> None:
        """Forget a request whose answer nobody awaits any more; it is not run unless it is."""
        self._queue.remove(request)
        settle(request)

    async def close(self, seconds: float) -> None:
        """Take no more requests; answer those that wait, for so many seconds at most."""
        self._closed = True
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except asyncio.TimeoutError:
            if not self._idle.is_set():
                log.error("%s images wait still when the time is up", self._queue.images)
        if self._alarm:
            self._alarm.cancel()
        self._outage.end()
        self._refuse(Stopping)

    def done(self, batch: Batch, judged: Judged) -> None:
        self._running.discard(batch)
        self._metrics.ran(len(batch), len(batch.parts), judged.seconds)
        self._answer(batch, judged)

    def failed(self, batch: Batch, reason: str) -> None:
        self._running.discard(batch)
        self._divide(batch, reason)

    def killed(self, batch: Batch, reason: str) -> None:
        self._running.discard(batch)
        if batch.tries + 1 < TRIES:
            self._again.append(Batch(batch.parts, batch.tries + 1))
        else:
            self._divide(batch, reason)

    def returned(self, batch: Batch) -> None:
        self._running.discard(batch)
        self._again.append(batch)

    def changed(self) -> None:
        if any(runner.alive for runner in self._runners):
            self._outage.end()
            self._pump()
        elif self._runners:
            self._outage.begin()

    def _pump(self) -> None:
        """Start runs while there is something to run and somebody to run it."""
        while runner := max(self._runners, key=lambda one: one.room, default=None):
            batch = self._next(runner.idle) if runner.room else None
            if batch is None:
                break
            self._running.add(batch)
            runner.run(batch)
        if not (self._running or self._queue.images or self._again):
            self._idle.set()

    def _next(self, idle: bool) -> Batch | None:
        now = time.monotonic()
        while idle and self._again:
            if batch := wanted(self._again.popleft(), now):
                return batch
        while requests := self._queue.take(now, ahead=not idle):
            batch = wanted(Batch([Part(one, 0, len(one.images)) for one in requests]), now)
            if batch:
                self._metrics.waited([now - part.request.since for part in batch.parts])
                return batch
        if idle and self._queue.images:
            self._wake_at(self._queue.next_due())
        return None

    def _wake_at(self, moment: float) -> None:
        if self._alarm:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_at(moment, self._pump)

    def _divide(self, batch: Batch, reason: str) -> None:
        """Run the images one by one: none may cost its neighbours their verdicts."""
        if len(batch) > 1:
            self._again.extend(batch.singly())
            return
        self._answer(batch, Judged.unverified(1, *self._widths, batch.threshold, reason))

    def _answer(self, batch: Batch, judged: Judged) -> None:
        if undecided := (judged.verdict == UNVERIFIED).nonzero()[0].tolist():
            reason = judged.reason(undecided[0])
            log.error("%s of %s images UNVERIFIED: %s", len(undecided), len(batch), reason)
        self._metrics.judged(judged)
        self._metrics.answered(share(batch, judged))

    def _expire(self, request: Request) -> None:
        if self._queue.remove(request):
            settle(request, Expired(EXPIRED))
            self._pump()

    def _refuse(self, kind: type[Rejection]) -> None:
        """Turn away all that is not being run, and what is being run too, if it is to stop."""
        waiting = self._queue.clear()
        batches = [*self._again, *self._running]
        self._again.clear()
        for request in (*waiting, *(part.request for batch in batches for part in batch.parts)):
            settle(request, kind(REFUSALS[kind]))
        self._pump()
