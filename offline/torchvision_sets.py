"""torchvision's data sets as labelled images."""

import gzip
import inspect
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from guard.errors import BadInput, nearest
from guard.progress import track
from offline.datasets import ArrayImages

__all__ = ["known_set", "torchvision_set"]


def torchvision_set(
    name: str,
    root: Path,
    *,
    train: bool,
    size: tuple[int, int] | None = None,
    download: bool = False,
) -> ArrayImages:
    """Open one of torchvision's classification data sets: MNIST, CIFAR10, GTSRB, Flowers102, …

    Sets of image files are decoded once, into a temporary file that is memory-mapped; `size`
    (height, width) says to what they are resized, and may be left out where all have one size.

    Raises:
        BadInput: torchvision has no such set with parts for training and test, it is not under
            `root`, or its images have different sizes.
    """
    from torchvision import datasets

    kind: Any = getattr(datasets, name, None)
    if name not in datasets.__all__ or not hasattr(kind, "__getitem__"):
        raise BadInput(f"torchvision has no data set {name!r}{nearest(name, datasets.__all__)}")
    try:
        with _unpacked(root, name) as folder:
            opened = _open_part(kind, folder, train, download)
    except RuntimeError as error:
        raise BadInput(f"{root}: torchvision's {name} is not there: {error}") from None
    pixels, labels = getattr(opened, "data", None), getattr(opened, "targets", None)
    labels = getattr(opened, "labels", None) if labels is None else labels
    if pixels is None or labels is None or size is not None:
        pixels, labels = _decoded(opened, name, size)
    pixels = torch.as_tensor(pixels)
    if pixels.ndim == 3:
        pixels = pixels.unsqueeze(1)
    elif pixels.shape[-1] == 3:
        pixels = pixels.permute(0, 3, 1, 2)
    labels = torch.as_tensor(labels, dtype=torch.int64)
    known = getattr(opened, "classes", None) or range(int(labels.max()) + 1)
    return ArrayImages(pixels.to(torch.uint8), labels, tuple(str(entry) for entry in known))


def known_set(path: Path) -> str | None:
    """Name the torchvision data set that lies in a folder, by the folder that it is kept in."""
    for name in ("MNIST", "FashionMNIST", "KMNIST"):
        if (path / name / "raw").is_dir():
            return name
    return "CIFAR10" if (path / "cifar-10-batches-py").is_dir() else None


def _open_part(kind: Any, folder: Path, train: bool, download: bool) -> Any:
    """Open the part for training or for test, by whatever name the set gives it."""
    parameters = inspect.signature(kind).parameters
    if "train" in parameters:
        return kind(str(folder), train=train, download=download)
    if "split" not in parameters:
        raise BadInput(f"torchvision's {kind.__name__} has no test part; give it as image folders")
    refused = ""
    for word in ("train", "trainval") if train else ("test", "val"):
        try:
            return kind(str(folder), split=word, download=download)
        except ValueError as error:
            refused = str(error)
    raise BadInput(f"torchvision's {kind.__name__}: {refused}")


def _decoded(
    opened: Any, name: str, size: tuple[int, int] | None
) -> tuple[UInt8[np.ndarray, "n h w 3"], list[int]]:
    """Decode a set of (image, label) pairs into a temporary file; its memory map keeps it alive."""
    height, width = size or opened[0][0].size[::-1]
    labels: list[int] = []
    with tempfile.TemporaryFile() as file:
        pixels = np.memmap(file, np.uint8, "w+", shape=(len(opened), height, width, 3))
    for index in track(range(len(opened)), f"Decoding {name}", len(opened)):
        image, label = opened[index]
        if image.size != (width, height):
            if size is None:
                raise BadInput(f"torchvision's {name} has images of many sizes: name a `size`")
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        pixels[index] = np.asarray(image.convert("RGB"))
        labels.append(int(label))
    return pixels, labels


@contextmanager
def _unpacked(root: Path, name: str) -> Iterator[Path]:
    """Yield where torchvision finds the set: `root`, or a copy with its .gz files unpacked.

    The sets of MNIST's family come as .gz files, which torchvision unpacks beside themselves only
    while it downloads; the folder may be read-only, too.
    """
    packed = list((root / name / "raw").glob("*.gz"))
    if not packed or all(file.with_suffix("").exists() for file in packed):
        yield root
        return
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / name / "raw"
        raw.mkdir(parents=True)
        for file in packed:
            try:
                (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
            except (OSError, EOFError, zlib.error) as error:
                raise BadInput(f"{file}: cannot be unpacked: {error}") from None
        yield Path(folder)
