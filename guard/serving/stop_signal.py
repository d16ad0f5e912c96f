"""SIGTERM and SIGINT: the first asks the server to stop, a second ends it at once."""

import asyncio
import logging
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

__all__ = ["leave_on_signals", "stop_signal"]

log = logging.getLogger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def leave_on_signals() -> None:
    """End the process on a signal until `stop_signal` is called, that is while models load.

    The first process of a container would ignore SIGTERM otherwise. SIGHUP, which would end any
    process, asks for nothing yet that is not being done.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in SIGNALS:
        signal.signal(number, _leave)


def stop_signal() -> "asyncio.Future[str]":
    """Return a future that the first SIGTERM or SIGINT completes with its name."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[str] = loop.create_future()

    def stop_or_end(number: signal.Signals) -> None:
        if not stop.done():
            stop.set_result(number.name)
            return
        log.warning("ending at once, on a second signal: %s", number.name)
        logging.shutdown()
        os._exit(128 + number)

    for number in SIGNALS:
        loop.add_signal_handler(number, stop_or_end, number)
    return stop


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
