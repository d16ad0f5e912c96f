"""The account of what was asked, and what came of it, while faults happen."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np

from tests.benchmarks.known_answers import Known

__all__ = ["Ledger"]

NEVER_TAKEN = ("failed to connect", "connection refused", "the server is stopping", "goaway")
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def _alone(
    method: "Callable[Concatenate[Ledger, Parameters], Result]",
) -> "Callable[Concatenate[Ledger, Parameters], Result]":
    """Let one thread at a time into the ledger."""

    @wraps(method)
    def call(self: "Ledger", *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with self.lock:
            return method(self, *args, **kwargs)

    return call


class Ledger:
    """What became of each request; each has an image and an id of its own. Threads may share it.

    Attributes:
        counts: of `requests`, `answered`, `refused` (RESOURCE_EXHAUSTED), `given_up`, `lost`,
            `answered_twice`, `wrong`, `unverified`, and of clients that are `broken`; after the
            signal to stop, `refused_stopping` and `cancelled_stopping`.
        lost_by: the lost ones by status.
        examples: a few of what went wrong, in words.
        stopped: when the server was told to stop, by `time.monotonic()`.
    """

    def __init__(self, known: list[Known]) -> None:
        self._known = known
        self.lock = threading.RLock()
        self._open: dict[int, float] = {}
        self._next = 0
        self._refused_after: list[float] = []
        self.counts: Counter[str] = Counter()
        self.lost_by: Counter[str] = Counter()
        self.examples: list[str] = []
        self.stopped = float("inf")

    @_alone
    def begin(self) -> tuple[int, Known]:
        """Open a request: its id and its image."""
        number, self._next = self._next, self._next + 1
        self._open[number] = time.monotonic()
        self.counts["requests"] += 1
        return number, self._known[number % len(self._known)]

    @_alone
    def answered(self, number: int, label: int, score: float, verdict: str) -> None:
        """Close a request with its answer."""
        if self._open.pop(number, None) is None:
            self._count("answered_twice", f"request {number}")
            return
        self.counts["answered"] += 1
        known = self._known[number % len(self._known)]
        if verdict == "UNVERIFIED":
            self.counts["unverified"] += 1
        elif not known.agrees(label, score, verdict):
            self._count("wrong", f"request {number}: {label} {score} {verdict}, not {known[3:]}")

    @_alone
    def failed(self, number: int, status: str, details: str) -> None:
        """Close a request with the status that it got instead of an answer.

        A full queue refuses. A server that was told to stop may refuse whatever it did not take,
        and cut off what was sent after that; what it had by then is lost.
        """
        sent = self._open.pop(number, None)
        if sent is None:
            self._count("answered_twice", f"request {number}: {status}")
        elif status == "RESOURCE_EXHAUSTED":
            self.counts["refused"] += 1
            self._refused_after.append(time.monotonic() - sent)
        elif status == "UNAVAILABLE" and _never_taken(details) and time.monotonic() > self.stopped:
            self.counts["refused_stopping"] += 1
        elif status == "CANCELLED" and sent > self.stopped:
            self.counts["cancelled_stopping"] += 1
        else:
            late = time.monotonic() > self.stopped
            self.lost_by[f"{status} after the signal" if late else status] += 1
            self._count("lost", f"{status}: request {number}: {details[:200]}")

    @_alone
    def forget(self, number: int) -> None:
        """Close a request that its client gave up."""
        self._open.pop(number, None)
        self.counts["given_up"] += 1

    def broke(self, error: BaseException) -> None:
        """Note that a client failed by itself; what it had asked stays without an answer."""
        self._count("broken", repr(error))

    def close(self) -> None:
        """Count what has still no answer as lost."""
        for number in list(self._open):
            self.failed(number, "NOTHING", "no answer at all")

    def refused_ms(self) -> list[float]:
        """Return the median and the 99th percentile of the time until a request was refused."""
        after = self._refused_after or [0.0]
        return [round(1e3 * float(np.quantile(after, part)), 1) for part in (0.5, 0.99)]

    def _count(self, kind: str, what: str) -> None:
        self.counts[kind] += 1
        like = f"{kind}: {what.partition(':')[0]}"
        if sum(example.startswith(like) for example in self.examples) < 3:
            self.examples.append(f"{kind}: {what}")


def _never_taken(details: str) -> bool:
    return any(words in details.lower() for words in NEVER_TAKEN)
