"""An instance of a model: a worker process that is started again whenever it ends."""

import asyncio
import logging
from collections import deque
from dataclasses import replace
from typing import NamedTuple

from guard.errors import CornerguardError
from guard.serving.batches import Batch
from guard.serving.messages import Answer, Run, Told
from guard.serving.model_settings import Instances
from guard.serving.order import Order
from guard.serving.runners import Owner
from guard.serving.shared import Slot
from guard.serving.worker_process import WorkerProcess

__all__ = ["SLOTS", "Instance"]

log = logging.getLogger(__name__)
SLOTS = 2
"""Batches that an instance holds: one runs while the next is ready."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
"""Seconds before a worker that did nothing useful is started again; they double."""


class _Held(NamedTuple):
    slot: int
    batch: Batch
    sent: bool


class Instance:
    """Runs batches in the order in which they are given.

    Args:
        order: the worker's task, but for the socket.
        slots: those of the order, as this process maps them.
        settings: how long things may take.
    """

    def __init__(self, order: Order, slots: list[Slot], settings: Instances) -> None:
        self._order, self._slots, self._settings = order, slots, settings
        self._held: deque[_Held] = deque()
        self._free = list(range(len(slots)))
        self._process: WorkerProcess | None = None
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._useful = self._alive = False
        self._last_words = ""
        self.device = ""

    @property
    def alive(self) -> bool:
        """Whether the worker takes batches."""
        return self._alive

    @property
    def pid(self) -> int | None:
        """The worker's process, while there is one."""
        return self._process.pid if self._process else None

    @property
    def room(self) -> int:
        """How many batches it would take now."""
        return len(self._free) if self._alive else 0

    @property
    def idle(self) -> bool:
        """Whether it runs nothing, and would take a batch."""
        return self._alive and not self._held

    async def start(self, owner: Owner) -> None:
        """Start the worker, and from then on start it again whenever it ends.

        Raises:
            BadBundle: the graph does not load or run.
            CornerguardError: the accelerator cannot be used, or the worker ends or is not ready in
                time.
        """
        self._owner = owner
        ended = await self._launch()
        # What was found at the start is what it stays with: a lost GPU is waited for.
        found = "cpu" if self.device == "cpu" else self._order.accelerator
        if found == "auto":
            found = "cuda"
        self._order = replace(self._order, accelerator=found)
        self._task = asyncio.create_task(self._keep(ended))

    def run(self, batch: Batch) -> None:
        """Take a batch; there must be room."""
        number = self._free.pop()
        slot, shape = self._slots[number], batch.shape
        slot.reserve(shape)
        batch.fill(slot.images(shape))
        size, channels, height, width = shape
        limits = batch.threshold, batch.deadline
        run = Run(number, slot.size, size, channels, height, width, *limits)
        sent = self._process is not None and self._process.send(run)
        self._held.append(_Held(number, batch, sent))
        if len(self._held) == 1:
            self._expect_answer()

    async def stop(self) -> None:
        """End the worker; the batches that it holds are lost."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._watch:
            self._watch.cancel()
        self._end()
        if self._process:
            await self._process.gone()
        for slot in self._slots:
            slot.close()

    async def _keep(self, ended: "asyncio.Future[None]") -> None:
        pause = 0.0
        while True:
            await ended
            pause = 0.0 if self._useful else min(max(FIRST_PAUSE, 2 * pause), LONGEST_PAUSE)
            while True:
                await asyncio.sleep(pause)
                try:
                    ended = await self._launch()
                    break
                except CornerguardError as error:
                    pause = min(max(FIRST_PAUSE, 2 * pause), LONGEST_PAUSE)
                    log.error("a worker does not start, again in %g s: %s", pause, error)
            log.warning("a worker was started again, as process %s", self.pid)
            self._owner.changed()

    async def _launch(self) -> "asyncio.Future[None]":
        """Return, once the worker is ready, a future that completes when it ends."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end() -> None:
            self._lost()
            if not ended.done():
                ended.set_result(None)

        self._process = WorkerProcess(self._order, self._settings.niceness, self._take, end)
        self.device = await self._process.ready(self._settings.start_seconds)
        # It may have ended since it was ready.
        self._alive, self._useful, self._last_words = not ended.done(), False, ""
        return ended

    def _take(self, answer: Answer) -> None:
        """Hear what became of the batch that was given first."""
        if answer.told == Told.NO_DEVICE:  # and then it ends
            self._last_words = answer.text
            return
        slot, batch, _ = self._held.popleft()
        self._useful = True
        self._expect_answer()
        if answer.told == Told.DONE:
            judged = self._slots[slot].judged(len(batch), batch.threshold, answer.seconds)
        self._free.append(slot)
        if answer.told == Told.DONE:
            self._owner.done(batch, judged)
        elif answer.told == Told.FAILED:
            self._owner.failed(batch, f"the run failed: {answer.text}")
        else:
            self._owner.returned(batch)
        self._owner.changed()

    def _lost(self) -> None:
        """Give back what the worker held when it ended."""
        self._alive = False
        held, self._held = self._held, deque()
        self._free = list(range(len(self._slots)))
        self._expect_answer()
        reason = self._last_words or "the worker that ran it ended"
        if held or self._last_words:
            log.error("a worker ended: %s", reason)
        for index, (_, batch, sent) in enumerate(held):
            if index == 0 and sent:
                self._owner.killed(batch, reason)
            else:
                self._owner.returned(batch)
        self._owner.changed()

    def _expect_answer(self) -> None:
        if self._watch:
            self._watch.cancel()
        limit = self._settings.run_seconds
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(limit, self._stalled) if self._held else None

    def _stalled(self) -> None:
        if self._process:
            self._last_words = f"a run took more than {self._settings.run_seconds:g} s"
            self._process.kill()

    def _end(self) -> None:
        self._alive = False
        if self._process:
            self._process.end()
