"""Labelled images, fetched a batch at a time: arrays and image folders."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from PIL import Image
from torch import Tensor

from guard.errors import BadInput
from guard.storage import sha256_of

__all__ = ["ArrayImages", "FolderImages", "ImageSet", "Subset", "batches", "split"]

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
DECODERS = 4


class ImageSet(ABC):
    """Images with labels, in a fixed order.

    Attributes:
        classes: the name of each class; a label is an index into it.
        labels: int64 [n], on the CPU.
        shape: (channel, height, width) of every image.
    """

    classes: tuple[str, ...]
    labels: Int64[Tensor, " n"]
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def fetch(self, indices: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """Return the images at `indices`, float32 in [0, 1]."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a SHA-256 over every image, label and class name, as hexadecimal."""


class ArrayImages(ImageSet):
    """Images that lie in one uint8 array, in memory or memory-mapped."""

    def __init__(
        self,
        pixels: UInt8[Tensor, "n c h w"],
        labels: Int64[Tensor, " n"],
        classes: tuple[str, ...],
    ) -> None:
        self.pixels, self.labels, self.classes = pixels, labels, classes
        self.shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        _require_every_class(labels, classes, "the array of images")

    def fetch(self, indices: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        return self.pixels[indices].float().div_(255)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self.classes, self.shape, self.labels.tolist())).encode())
        for piece in self.pixels.split(4096):
            digest.update(piece.contiguous().numpy())
        return digest.hexdigest()


class FolderImages(ImageSet):
    """A folder of class folders of image files, decoded when fetched.

    Images become RGB (or grey, for `channels` 1) and are resized to `size` (height, width); with no
    size given, the first image's is taken and every image must have it.

    Raises:
        BadInput: no class folder, a class with no image, or an image that does not decode.
    """

    def __init__(self, root: Path, size: tuple[int, int] | None = None, channels: int = 3) -> None:
        folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        if not folders:
            raise BadInput(f"{root}: no class folders; ROOT/CLASS/IMAGE is wanted")
        files = [sorted(p for p in f.rglob("*") if p.suffix.lower() in SUFFIXES) for f in folders]
        for folder, found in zip(folders, files, strict=True):
            if not found:
                raise BadInput(f"{folder}: the class {folder.name!r} has no image")
        self.root, self.resize, self.mode = root, size is not None, "RGB" if channels == 3 else "L"
        self.files = [file for found in files for file in found]
        self.classes = tuple(folder.name for folder in folders)
        self.labels = torch.repeat_interleave(torch.tensor([len(found) for found in files]))
        height, width = size or self._size_of(self.files[0])
        self.shape = (channels, height, width)

    def fetch(self, indices: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        with ThreadPoolExecutor(DECODERS) as pool:
            images = list(pool.map(self._decode, indices.tolist()))
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255)

    def fingerprint(self) -> str:
        with ThreadPoolExecutor(DECODERS) as pool:
            sums = pool.map(sha256_of, self.files)
        named = [(str(f.relative_to(self.root)), s) for f, s in zip(self.files, sums, strict=True)]
        return hashlib.sha256(repr((self.shape, named)).encode()).hexdigest()

    def _size_of(self, file: Path) -> tuple[int, int]:
        with _opened(file) as image:
            return image.height, image.width

    def _decode(self, index: int) -> UInt8[np.ndarray, "h w c"]:
        file, (channels, height, width) = self.files[index], self.shape
        with _opened(file) as image:
            try:
                image = image.convert(self.mode)
            except (OSError, SyntaxError, ValueError) as error:
                raise BadInput(f"{file}: does not decode: {error}") from None
        if image.size != (width, height):
            if not self.resize:
                raise BadInput(
                    f"{file}: is {image.height}x{image.width}, the first image {height}x{width}; "
                    "name the `size` that all are to have"
                )
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image, dtype=np.uint8).reshape(height, width, channels)


class Subset(ImageSet):
    """Some images of another set, in the order of `indices`."""

    def __init__(self, image_set: ImageSet, indices: Int64[Tensor, " n"]) -> None:
        self.image_set, self.indices = image_set, indices
        self.classes, self.shape = image_set.classes, image_set.shape
        self.labels = image_set.labels[indices]

    def fetch(self, indices: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        return self.image_set.fetch(self.indices[indices])

    def fingerprint(self) -> str:
        whole = self.image_set.fingerprint()
        return hashlib.sha256(repr((whole, self.indices.tolist())).encode()).hexdigest()


def batches(
    image_set: ImageSet, batch_size: int, generator: torch.Generator | None = None
) -> Iterator[tuple[Float[Tensor, "b c h w"], Int64[Tensor, " b"]]]:
    """Yield every image once with its label; shuffled when a generator is given.

    The next batch is fetched while the caller works on this one.
    """
    count = len(image_set)
    order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
    pieces = order.split(batch_size)
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(image_set.fetch, pieces[0])
        for number, piece in enumerate(pieces, start=1):
            images = ahead.result()
            if number < len(pieces):
                ahead = pool.submit(image_set.fetch, pieces[number])
            yield images, image_set.labels[piece]


def split(image_set: ImageSet, fraction: float, seed: int) -> tuple[Subset, Subset]:
    """Part a set at random: first the larger rest, then `fraction` of the images."""
    order = torch.randperm(len(image_set), generator=torch.Generator().manual_seed(seed))
    held = round(fraction * len(image_set))
    return Subset(image_set, order[held:]), Subset(image_set, order[:held])


def _opened(file: Path) -> Image.Image:
    try:
        return Image.open(file)
    except (OSError, Image.DecompressionBombError) as error:
        raise BadInput(f"{file}: does not decode: {error}") from None


def _require_every_class(labels: Tensor, classes: tuple[str, ...], where: str) -> None:
    if not len(labels):
        raise BadInput(f"{where}: has no image")
    if int(labels.min()) < 0 or int(labels.max()) >= len(classes):
        raise BadInput(f"{where}: labels must lie in 0..{len(classes) - 1}")
    for index, count in enumerate(torch.bincount(labels, minlength=len(classes)).tolist()):
        if not count:
            raise BadInput(f"{where}: the class {classes[index]!r} has no image")
