"""What is asked of the worker, and asked again if it dies: images, seen faces, gradients."""

import itertools
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from guard.errors import CornerguardError
from offline.rendering.redner.process import Memory, WorkerDied, WorkerProcess

__all__ = ["Conversation", "Drawing", "Picture"]

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Picture:
    """What the worker is to draw: its pixels, samples along each side of a pixel, and seed."""

    height: int
    width: int
    samples: int
    seed: int


@dataclass
class Drawing:
    """A batch that was drawn, and that the way back leads through."""

    tensors: Mapping[str, Tensor]
    ticket: int
    life: int
    """Which of the workers drew it; another one must draw it again first."""


class Conversation:
    """Asks a worker, which is started when it is needed. A request that ends it is asked once more.

    Args:
        python: of redner's environment.
        picture: what to draw.
        seconds: that a request may take.
    """

    def __init__(self, python: Path, picture: Picture, seconds: float) -> None:
        self._python, self._picture, self._seconds = python, picture, seconds
        self._memory = Memory()
        self._worker: WorkerProcess | None = None
        self._life = 0
        self._tickets = itertools.count()
        self._dropped: deque[int] = deque()
        self._lock = threading.RLock()
        self._release = weakref.finalize(self, os.close, self._memory.file)

    @property
    def pid(self) -> int | None:
        """The number of the worker's process, while there is one."""
        return self._worker.process.pid if self._worker else None

    def close(self) -> None:
        """End the worker and give the memory back, once."""
        with self._lock:
            if self._worker:
                self._worker.close()
            self._worker = None
            self._release()

    def draw(self, tensors: Mapping[str, Tensor], keep: bool) -> tuple[Tensor, Drawing]:
        """Return `[batch, 4, height, width]`, and if it is to be kept, what `slopes` wants."""
        with self._lock:
            drawing = Drawing(tensors, next(self._tickets), 0)
            shape = (len(tensors["faces"]), 4, self._picture.height, self._picture.width)
            image = self._twice(lambda: self._draw(drawing, shape, keep))
        if keep:
            weakref.finalize(drawing, self._dropped.append, drawing.ticket)
        return image, drawing

    def faces(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return which face each sample sees, `[batch, samples · height, …]`; -1: none."""
        height, width = (
            side * self._picture.samples for side in (self._picture.height, self._picture.width)
        )
        shape = (len(tensors["faces"]), height, width)
        with self._lock:
            return self._twice(lambda: self._ask("faces", tensors, shape))

    def slopes(self, drawing: Drawing, upstream: Tensor) -> dict[str, Tensor]:
        """Return the gradients by the tensors of a drawing, given those by its image."""
        with self._lock:
            return self._twice(lambda: self._slopes(drawing, upstream))

    def _twice(self, step: Callable[[], Answer]) -> Answer:
        try:
            return step()
        except WorkerDied:
            self._worker = None
        try:
            return step()
        except WorkerDied:
            self._worker = None
            raise CornerguardError(
                "redner's worker ended twice over one request, maybe for want of memory: render "
                "fewer scenes at once"
            ) from None

    def _draw(self, drawing: Drawing, shape: tuple[int, ...], keep: bool) -> Tensor:
        image = self._ask("render", drawing.tensors, shape, ticket=drawing.ticket, keep=keep)
        drawing.life = self._life
        return image

    def _slopes(self, drawing: Drawing, upstream: Tensor) -> dict[str, Tensor]:
        self._start()
        if drawing.life != self._life:
            self._draw(drawing, tuple(upstream.shape), True)
        floats = {k: v.shape for k, v in drawing.tensors.items() if v.is_floating_point()}
        shapes = {**floats, "upstream": upstream.shape}
        places = self._memory.lay_out({k: (torch.float32, tuple(v)) for k, v in shapes.items()})
        self._memory.write(places["upstream"], upstream)
        gradients = {name: places[name] for name in floats}
        self._send(
            "backward", ticket=drawing.ticket, upstream=places["upstream"], gradients=gradients
        )
        return {name: self._memory.read(place) for name, place in gradients.items()}

    def _ask(
        self, what: str, tensors: Mapping[str, Tensor], shape: tuple[int, ...], **more: Any
    ) -> Tensor:
        self._start()
        shapes = {name: (value.dtype, tuple(value.shape)) for name, value in tensors.items()}
        places = self._memory.lay_out({**shapes, "output": (torch.float32, shape)})
        for name, value in tensors.items():
            self._memory.write(places[name], value)
        output = places.pop("output")
        self._send(what, tensors=places, output=output, **vars(self._picture), **more)
        return self._memory.read(output)

    def _send(self, what: str, **request: Any) -> None:
        forget = [self._dropped.popleft() for _ in range(len(self._dropped))]
        self._start().ask(
            {"do": what, "size": self._memory.size, "forget": forget, **request}, self._seconds
        )

    def _start(self) -> WorkerProcess:
        if not self._release.alive:
            raise CornerguardError("this redner renderer was closed; make another one")
        if self._worker is None or not self._worker.close.alive:
            self._worker = WorkerProcess(self._python, self._memory.file)
            self._life += 1
        return self._worker
