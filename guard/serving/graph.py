"""The graph of a bundle in memory: the very bytes whose sums were verified, and no others."""

import hashlib
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guard.errors import BadBundle
from guard.serving.shared import anonymous_file

if TYPE_CHECKING:  # a worker takes a graph without reading a bundle, and starts the sooner
    from guard.bundle import Bundle

__all__ = ["Graph", "read_graph"]

PIECE = 1 << 20
PROBE_SIDE = 64
"""Pixels to a side of the first image where any size will do."""


@dataclass(frozen=True)
class Graph:
    """A verified graph, and what its inputs and outputs must look like.

    A folder can change while it is served, and a worker that is started again must still load what
    was verified: so the files are copied into memory that no path leads to.

    Attributes:
        path: what messages call the graph.
        files: descriptors by name: the graph first, then its weights if they lie in a file apart.
        threshold: the calibrated one of this graph.
        classes, layers: widths of `logits` and `discrepancy`.
        image: channel, height and width of an image that it takes.
    """

    path: str
    files: dict[str, int]
    threshold: float
    classes: int
    layers: int
    image: tuple[int, int, int]

    def contents(self) -> dict[str, mmap.mmap]:
        """Map the files for reading."""
        return {
            name: mmap.mmap(file, 0, access=mmap.ACCESS_READ) for name, file in self.files.items()
        }

    def close(self) -> None:
        """Give the memory back; sessions that were made of it live on."""
        for file in self.files.values():
            os.close(file)
        self.files.clear()


def read_graph(bundle: "Bundle", precision: str = "float32") -> Graph:
    """Copy the graph of a precision into memory, and verify the copy against the manifest.

    Raises:
        BadInput: the bundle has no such precision.
        BadBundle: a file cannot be read, or was altered since the bundle was verified.
    """
    manifest = bundle.manifest
    name, threshold = manifest.graph(precision)
    channels, height, width = manifest.input_shape
    files: dict[str, int] = {}
    graph = Graph(
        path=str(bundle.path / name),
        files=files,
        threshold=threshold,
        classes=len(manifest.class_names),
        layers=len(manifest.layer_names),
        image=(channels, height or PROBE_SIDE, width or PROBE_SIDE),
    )
    try:
        for file in (name, f"{name}.data"):  # the second is there above protobuf's 2 GiB
            if file in manifest.files:
                files[file] = _copy(bundle.path / file, manifest.files[file])
    except BaseException:
        graph.close()
        raise
    return graph


def _copy(path: Path, expected: str) -> int:
    copy, digest = anonymous_file(), hashlib.sha256()
    try:
        with path.open("rb") as source, os.fdopen(copy, "wb", closefd=False) as target:
            while piece := source.read(PIECE):
                digest.update(piece)
                target.write(piece)
        if digest.hexdigest() != expected:
            raise BadBundle(f"{path}: is altered: SHA-256 {digest.hexdigest()}, not {expected}")
    except OSError as error:
        os.close(copy)
        raise BadBundle(f"{path}: cannot be read: {error.strerror}") from None
    except BadBundle:
        os.close(copy)
        raise
    return copy
