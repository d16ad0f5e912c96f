"""A worker process as the server sees it: started, asked, heard, and ended."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import guard
from guard.errors import BadBundle, CornerguardError
from guard.serving.messages import ANSWER_BYTES, RUN_BYTES, Answer, Run, Told
from guard.serving.order import Order

__all__ = ["WorkerProcess"]

log = logging.getLogger(__name__)
COMMAND = (sys.executable, "-m", "guard.serving.worker")
STANDARD_ERROR = 2
REAPING, LAST_RESORT = 0.01, 5.0
"""Seconds between two looks at whether a killed process is gone, and until none is taken."""


class WorkerProcess:
    """One life of a worker. Needs a running event loop, which reads what it says.

    Args:
        order: its task, but for the socket.
        niceness: how far it stands back behind this process, as soon as it starts.
        answered: is called with each answer but the first, for which see `ready`.
        ended: is called once when it is gone, unless `end` was called before.
    """

    def __init__(
        self,
        order: Order,
        niceness: int,
        answered: Callable[[Answer], None],
        ended: Callable[[], None],
    ) -> None:
        self._answered, self._ended = answered, ended
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._first: asyncio.Future[Answer] = self._loop.create_future()
        self._socket, theirs = socket.socketpair()
        with theirs:
            order = replace(order, socket=theirs.fileno())
            # A session of its own, so that a terminal's Ctrl-C does not reach it. The standard
            # output is the server's, which others read.
            self._process = subprocess.Popen(  # noqa: S603 (this very interpreter)
                [*COMMAND, order.write()],
                pass_fds=order.files,
                stdin=subprocess.DEVNULL,
                stdout=STANDARD_ERROR,
                start_new_session=True,
                env=_environment(),
            )
        os.setpriority(os.PRIO_PROCESS, self._process.pid, min(19, os.nice(0) + niceness))
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket, self._read)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    async def ready(self, seconds: float) -> str:
        """Return the device of the worker when it is ready; if it never is, end it.

        Raises:
            BadBundle: the graph does not load or run.
            CornerguardError: the accelerator cannot be used, or the worker ends or is not ready in
                so many seconds.
        """
        try:
            answer = await asyncio.wait_for(self._first, seconds)
        except asyncio.TimeoutError:
            answer = Answer(Told.NO_DEVICE, text=f"a worker was not ready within {seconds:g} s")
        except asyncio.CancelledError:
            self.end()
            raise
        if answer.told == Told.READY:
            return answer.text
        self.end()
        raise (BadBundle if answer.told == Told.BAD_BUNDLE else CornerguardError)(answer.text)

    def send(self, run: Run) -> bool:
        """Ask for a run; say whether the worker still listened."""
        try:
            return self._socket.send(run.pack()) == RUN_BYTES
        except OSError:
            return False  # `ended` is about to be called

    def kill(self) -> None:
        """End a worker that hangs; `ended` follows."""
        self._process.kill()

    def end(self) -> None:
        """End the worker, whatever it does, and hear no more of it."""
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket)
        self._socket.close()  # by which it ends; but it may hang
        self._process.kill()
        self._reap()

    async def gone(self) -> None:
        """Return when the process has ended, or hangs in the kernel even so."""
        for _ in range(round(LAST_RESORT / REAPING)):
            if self._process.poll() is not None:
                return
            await asyncio.sleep(REAPING)

    def _read(self) -> None:
        try:
            received = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self.end()
            if not self._first.done():
                lost = Answer(Told.NO_DEVICE, text="a worker ended while it started")
                self._first.set_result(lost)
            self._ended()
            return
        self._received += received
        while len(self._received) >= ANSWER_BYTES:
            message = bytes(self._received[:ANSWER_BYTES])
            del self._received[:ANSWER_BYTES]
            answer = Answer.unpack(message)
            if self._first.done():
                self._answered(answer)
            else:
                self._first.set_result(answer)

    def _reap(self) -> None:
        if self._process.poll() is None:
            self._loop.call_later(REAPING, self._reap)
        else:
            log.debug("worker %s ended with %s", self.pid, self._process.returncode)


def _environment() -> dict[str, str]:
    """Return the variables of a worker: it imports this very package, and nothing from the cwd."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (_root(), os.environ.get("PYTHONPATH", "")))),
        "PYTHONSAFEPATH": "1",
        "OPENBLAS_NUM_THREADS": "1",  # numpy computes nothing there that pays a thread
    }


def _root() -> str:
    return str(Path(guard.__file__).parents[1])
