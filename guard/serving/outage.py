"""The time in which no worker lives: requests outlast a short one, not a long one."""

import asyncio
import logging
from collections.abc import Callable

__all__ = ["Outage"]

log = logging.getLogger(__name__)


class Outage:
    """Calls `give_up` when no worker has lived for so many seconds.

    Attributes:
        long: whether that has happened, and none lives since.
    """

    def __init__(self, seconds: float, give_up: Callable[[], None]) -> None:
        self._seconds, self._give_up = seconds, give_up
        self._timer: asyncio.TimerHandle | None = None
        self.long = False

    def begin(self) -> None:
        """Note that none lives."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._last)

    def end(self) -> None:
        """Note that one lives again, or that nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self.long = None, False

    def _last(self) -> None:
        self.long = True
        log.error("no worker has lived for %g s; requests are refused", self._seconds)
        self._give_up()
