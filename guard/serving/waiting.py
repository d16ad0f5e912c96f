"""What waits for a run, in lanes of a kind and a priority; and which of it shares the next one."""

import math
from collections import Counter, OrderedDict

from guard.serving.batches import Kind, Request
from guard.serving.model_settings import Batching
from guard.serving.rejections import Overloaded

__all__ = ["Queue"]


class Queue:
    """Requests that wait: bounded, and oldest first within a kind and a priority."""

    def __init__(self, limits: Batching) -> None:
        self._limits = limits
        self._lanes: dict[tuple[Kind, int], OrderedDict[Request, None]] = {}
        self._images_of: Counter[Kind] = Counter()
        self.images = self.bytes = 0

    def add(self, request: Request) -> None:
        """Let a request wait.

        Raises:
            Overloaded: there is no room.
        """
        count, size = len(request.images), request.images.nbytes
        if lack := self._lack(count, size):
            raise Overloaded(lack)
        self._lanes.setdefault((request.kind, request.priority), OrderedDict())[request] = None
        self._images_of[request.kind] += count
        self.images += count
        self.bytes += size

    @property
    def full(self) -> str:
        """Why not even the smallest request has room; empty if one has."""
        return self._lack(1, 1)

    def __contains__(self, request: Request) -> bool:
        return request in self._lanes.get((request.kind, request.priority), ())

    def remove(self, request: Request) -> bool:
        """Let a request wait no longer; say whether it did."""
        if request not in self:
            return False
        key = request.kind, request.priority
        lane = self._lanes[key]
        del lane[request]
        if not lane:
            del self._lanes[key]
        self._images_of[request.kind] -= len(request.images)
        if not self._images_of[request.kind]:
            del self._images_of[request.kind]
        self.images -= len(request.images)
        self.bytes -= request.images.nbytes
        return True

    def clear(self) -> list[Request]:
        """Return all that waits, which then does no longer."""
        waiting = [request for lane in self._lanes.values() for request in lane]
        for request in waiting:
            self.remove(request)
        return waiting

    def take(self, now: float, ahead: bool = False) -> list[Request]:
        """Remove the requests of the next run: those that may not wait, else the most urgent.

        Args:
            now: by `time.monotonic()`.
            ahead: while the model is busy: a run that has all the company that it can have.
        """
        keys = self._due(now, ahead)
        if not keys:
            return []
        kind, priority = max(keys, key=lambda key: self._urgency(key, now))
        room = self._target(kind)
        most = self._limits.batch_bytes // (4 * math.prod(kind[0]))
        room = max(1, min(room, most))
        batch: list[Request] = []
        # The most urgent lane first, then what else fits, by priority.
        lanes = sorted((key for key in self._lanes if key[0] == kind), key=lambda key: -key[1])
        lanes.remove((kind, priority))
        for key in ((kind, priority), *lanes):
            for request in self._lanes[key]:
                if batch and len(request.images) > room:
                    break  # none overtakes its like
                batch.append(request)
                room -= len(request.images)
        for request in batch:
            self.remove(request)
        return batch

    def next_due(self) -> float:
        """Return when `take` gives something that it would not give yet; infinite if never."""
        heads = [next(iter(lane)).since for lane in self._lanes.values()]
        return min(heads, default=float("inf")) + self._limits.delay

    def _lack(self, count: int, size: int) -> str:
        limits = self._limits
        if self.images + count > limits.queue:
            return f"{self.images} of at most {limits.queue} images wait"
        if self.bytes + size > limits.queue_bytes:
            return f"{self.bytes} of at most {limits.queue_bytes} bytes of images wait"
        return ""

    def _due(self, now: float, ahead: bool) -> list[tuple[Kind, int]]:
        """Return the lanes of the kinds that need not wait for company."""
        if not self._limits.delay and not ahead:
            return list(self._lanes)
        kinds = {kind for kind, count in self._images_of.items() if count >= self._full(ahead)}
        if not ahead:
            kinds |= {
                key[0]
                for key, lane in self._lanes.items()
                if next(iter(lane)).since + self._limits.delay <= now
            }
        return [key for key in self._lanes if key[0] in kinds]

    def _full(self, ahead: bool) -> int:
        sizes = self._limits.preferred or (self._limits.max_batch,)
        return max(sizes) if ahead else min(sizes)

    def _target(self, kind: Kind) -> int:
        waiting = self._images_of[kind]
        fitting = [size for size in self._limits.preferred if size <= waiting]
        return max(fitting, default=self._limits.max_batch)

    def _urgency(self, key: tuple[Kind, int], now: float) -> tuple[bool, int, float]:
        since = next(iter(self._lanes[key])).since
        starved = since + self._limits.patience <= now
        return starved, 0 if starved else key[1], -since
