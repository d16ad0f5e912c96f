"""Requests as they are run: whole, together with others, or image by image."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guard.serving.verdict import Judged

__all__ = ["Batch", "Kind", "Part", "Request"]

Kind = tuple[tuple[int, ...], float]


class Request:
    """Images that somebody waits for.

    Attributes:
        images: `[batch, channel, height, width]`, float32, float16 or uint8.
        kind: image size and threshold; only requests of one kind share a run.
        deadline: by `time.monotonic()`, infinite for none.
        answer: what is awaited.
        judged: the parts that are known, by the index of their first image.
    """

    __slots__ = ("answer", "deadline", "images", "judged", "kind", "priority", "since", "timer")

    def __init__(
        self, images: NDArray[Any], threshold: float, deadline: float | None, priority: int
    ) -> None:
        self.images, self.priority = images, priority
        self.kind: Kind = images.shape[1:], threshold
        self.deadline = float("inf") if deadline is None else deadline
        self.since = time.monotonic()
        self.answer: asyncio.Future[Judged] = asyncio.get_running_loop().create_future()
        self.judged: dict[int, Judged] = {}
        self.timer: asyncio.TimerHandle | None = None


@dataclass(frozen=True)
class Part:
    """Consecutive images of a request."""

    request: Request
    start: int
    stop: int

    @property
    def images(self) -> NDArray[Any]:
        """The images."""
        return self.request.images[self.start : self.stop]


@dataclass(frozen=True, eq=False)
class Batch:
    """Images of one kind that are run together.

    Attributes:
        tries: how many workers ended while they ran it.
    """

    parts: Sequence[Part]
    tries: int = 0

    def __len__(self) -> int:
        return sum(part.stop - part.start for part in self.parts)

    @property
    def threshold(self) -> float:
        """That of all its requests."""
        return self.parts[0].request.kind[1]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of all its images together."""
        channels, height, width = self.parts[0].request.kind[0]
        return len(self), channels, height, width

    @property
    def deadline(self) -> float:
        """When the first of its requests expires."""
        return min(part.request.deadline for part in self.parts)

    def singly(self) -> Iterator["Batch"]:
        """Return a batch for each image, which then has no neighbours to harm."""
        for part in self.parts:
            for index in range(part.start, part.stop):
                yield Batch([Part(part.request, index, index + 1)], tries=1)

    def fill(self, images: NDArray[np.float32]) -> None:
        """Copy the images to where they are run, as float32; uint8 is divided by 255."""
        at = 0
        for part in self.parts:
            source = part.images
            target = images[at : at + len(source)]
            if source.dtype == np.uint8:
                np.divide(source, np.float32(255), out=target, dtype=np.float32)
            else:
                target[...] = source
            at += len(source)
