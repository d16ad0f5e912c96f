"""Memory that the server and a worker share: a batch's images on their way in, its outputs out."""

import math
import mmap
import os
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guard.serving.verdict import Judged, Outputs

__all__ = ["Layout", "Slot", "anonymous_file"]

PAGE = 4096
Shape = tuple[int, ...]


def anonymous_file() -> int:
    """Return the descriptor of a file that no path leads to, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("cornerguard")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


@dataclass(frozen=True)
class Layout:
    """Where a slot holds what: the outputs first, as tight as their batch allows, then the images.

    Attributes:
        classes, layers: widths of `logits` and `discrepancy`.
        images: the largest batch.
    """

    classes: int
    layers: int
    images: int

    @property
    def head(self) -> int:
        """Where the images begin, in bytes."""
        return -(-self.size(self.images) // PAGE) * PAGE

    def size(self, batch: int) -> int:
        """Return the bytes of a batch's outputs."""
        return batch * (8 + 4 * (self.classes + self.layers + 2) + 2)

    def outputs(self, buffer: Any, batch: int) -> dict[str, NDArray[Any]]:
        """View a buffer as the graph's outputs for a batch, and as `verdict`, int8."""
        fields: tuple[tuple[str, type[np.generic], Shape], ...] = (
            ("label", np.int64, (batch,)),
            ("logits", np.float32, (batch, self.classes)),
            ("discrepancy", np.float32, (batch, self.layers)),
            ("score", np.float32, (batch,)),
            ("p_value", np.float32, (batch,)),
            ("valid", np.bool_, (batch,)),
            ("verdict", np.int8, (batch,)),
        )
        views: dict[str, NDArray[Any]] = {}
        start = 0
        for name, kind, shape in fields:
            views[name] = view = np.ndarray(shape, kind, buffer, start)
            start += view.nbytes
        return views


class Slot:
    """One batch in a shared file.

    Whoever made the file calls `reserve`, the other end `follow` with the size that it is told.
    Views of a size that is no longer reserved must not be kept.

    Args:
        file: its descriptor.
        layout: of the model.
        size: bytes that images may take without `reserve` growing the file.
    """

    def __init__(self, file: int, layout: Layout, size: int) -> None:
        self.file, self.layout = file, layout
        self._usual = layout.head + size
        self._map: mmap.mmap | None = None

    @property
    def size(self) -> int:
        """Bytes that are mapped."""
        return len(self._map) if self._map else 0

    @property
    def address(self) -> int:
        """Where it is mapped."""
        return int(np.frombuffer(self._map or b"", np.uint8).ctypes.data)

    def reserve(self, shape: Shape) -> None:
        """Make room for float32 images of this shape; what an unusually large one took is freed."""
        # Pages that are never written to take no memory.
        size = max(self._usual, self.layout.head + 4 * math.prod(shape))
        if size != self.size:
            self._map = None
            os.ftruncate(self.file, size)
            self._map = mmap.mmap(self.file, size)

    def follow(self, size: int) -> bool:
        """Map what the other end reserved; say whether that moved the slot."""
        if size == self.size:
            return False
        self._map = mmap.mmap(self.file, size)
        return True

    def close(self) -> None:
        """Give the memory back, once."""
        self._map = None
        if self.file >= 0:
            os.close(self.file)
        self.file = -1

    def images(self, shape: Shape) -> NDArray[np.float32]:
        """View the images."""
        return np.ndarray(shape, np.float32, self._map, self.layout.head)

    def outputs(self, batch: int) -> dict[str, NDArray[Any]]:
        """View the outputs and verdicts of so many images."""
        return self.layout.outputs(self._map, batch)

    def judged(self, batch: int, threshold: float, seconds: float) -> Judged:
        """Copy the outputs and verdicts of so many images, once for all."""
        size = self.layout.size(batch)
        copied = self._map[:size] if self._map else bytes(size)
        values = self.layout.outputs(copied, batch)
        verdict = values.pop("verdict")
        return Judged(Outputs(**values), verdict, threshold, seconds=seconds)
