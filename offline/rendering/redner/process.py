"""The worker as the renderer sees it: started, asked, ended; and the memory that both share."""

import json
import math
import mmap
import os
import socket
import struct
import subprocess
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from guard.errors import CornerguardError
from guard.serving.shared import anonymous_file

__all__ = ["Memory", "Place", "WorkerDied", "WorkerProcess"]

Shape = tuple[int, ...]
Place = tuple[str, tuple[int, ...], int]
"""Of a tensor in the memory: its kind as numpy names it, its shape, and its offset in bytes."""
_FOLDER = Path(__file__).with_name("worker")
_KINDS = {torch.float32: "float32", torch.int32: "int32"}
_ALIGNED = 64
_STANDARD_ERROR = 2


class WorkerDied(Exception):
    """The worker ended before it answered."""


class Memory:
    """A file that no path leads to, in which the tensors of one request lie one after the other."""

    def __init__(self) -> None:
        self.file = anonymous_file()
        self._map: mmap.mmap | None = None
        self._end = 0

    @property
    def size(self) -> int:
        """Bytes that are mapped."""
        return len(self._map) if self._map else 0

    def lay_out(
        self, shapes: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]
    ) -> dict[str, Place]:
        """Give each tensor a place; what lay there before is lost."""
        places, end = {}, 0
        for name, (dtype, shape) in shapes.items():
            places[name] = (_KINDS[dtype], tuple(shape), end)
            end += -(-math.prod(shape) * 4 // _ALIGNED) * _ALIGNED
        if end > self.size or end < self.size // 8:
            size = max(end, mmap.PAGESIZE)
            self._map = None
            os.ftruncate(self.file, size)
            self._map = mmap.mmap(self.file, size)
        return places

    def write(self, place: Place, value: Tensor) -> None:
        """Copy a tensor, of any device, into its place."""
        if value.numel():
            self._view(place).copy_(value.detach())

    def read(self, place: Place) -> Tensor:
        """Copy a tensor out."""
        if not math.prod(place[1]):
            return torch.zeros(place[1])
        return self._view(place).clone()

    def _view(self, place: Place) -> Tensor:
        kind, shape, offset = place
        flat = torch.frombuffer(
            self._map, dtype=getattr(torch, kind), count=math.prod(shape), offset=offset
        )
        return flat.view(shape)


class WorkerProcess:
    """One life of a worker.

    Args:
        python: of redner's environment.
        memory: the descriptor of the file that both share.
    """

    def __init__(self, python: Path, memory: int) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            # A session of its own, so that a terminal's Ctrl-C does not reach it; isolated (-I),
            # so that nothing of this Python's packages does.
            self.process = subprocess.Popen(  # noqa: S603 (no shell; our script and descriptors)
                [python, "-I", _FOLDER, str(theirs.fileno()), str(memory)],
                pass_fds=(theirs.fileno(), memory),
                stdin=subprocess.DEVNULL,
                stdout=_STANDARD_ERROR,
                start_new_session=True,
            )
        self.close = weakref.finalize(self, _end, self.process, self._socket)

    def ask(self, request: Mapping[str, Any], seconds: float) -> None:
        """Send a request and wait for its end.

        Raises:
            WorkerDied: it ended.
            CornerguardError: redner refused the request, or was not done in so many seconds.
        """
        message = json.dumps(request).encode()
        self._socket.settimeout(seconds)
        try:
            self._socket.sendall(struct.pack("<I", len(message)) + message)
            (length,) = struct.unpack("<I", self._receive(4))
            error = json.loads(self._receive(length))["error"]
        except TimeoutError:
            self.close()
            raise CornerguardError(
                f"redner was not done within {seconds:g} s: render fewer scenes at once, or allow "
                "more seconds"
            ) from None
        except OSError:
            raise WorkerDied from None
        except KeyboardInterrupt:
            self.close()  # else its late answer would be taken for that to the next request
            raise
        if error:
            raise CornerguardError(f"redner: {' '.join(error.split())[:300]}")

    def _receive(self, count: int) -> bytes:
        message = b""
        while len(message) < count:
            piece = self._socket.recv(count - len(message))
            if not piece:
                raise WorkerDied
            message += piece
        return message


def _end(process: "subprocess.Popen[bytes]", connection: socket.socket) -> None:
    connection.close()
    process.kill()
    process.wait()
