"""Images from outside, as files or numbers: checked, and brought into the model's shape."""

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from guard.errors import BadBundle, BadInput, one_line
from guard.manifest import Manifest

__all__ = ["Encoded", "ImageSpec", "check_images"]

FORMATS = ("JPEG", "PNG")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
Images = NDArray[np.float32]


@dataclass(frozen=True)
class ImageSpec:
    """What the model takes: 1 (grey) or 3 (RGB) channels; height and width, None for any."""

    channels: int
    height: int | None
    width: int | None
    max_pixels: int

    @classmethod
    def of(cls, manifest: Manifest, max_pixels: int) -> "ImageSpec":
        """Return what the model of a bundle takes.

        Raises:
            BadBundle: its manifest has no input `images` of 1 or 3 channels.
        """
        shape = next((spec.shape for spec in manifest.inputs if spec.name == "images"), ())
        if len(shape) != 4 or shape[1] not in (1, 3):
            raise BadBundle(f"guard.json: images {list(shape)}; [-1, 1 or 3, height, width] wanted")
        height, width = (None if size < 1 else size for size in shape[2:])
        return cls(shape[1], height, width, max_pixels)

    def __str__(self) -> str:
        sizes = ("any" if size is None else str(size) for size in (self.height, self.width))
        return f"[batch, {self.channels}, {', '.join(sizes)}]"


class Encoded:
    """A JPEG or PNG file of which the header is read, and nothing decoded yet.

    Args:
        data: the file.
        spec: what the model takes.
        where: what messages call the image.

    Raises:
        BadInput: not a JPEG or PNG, a damaged header, too large, or of a depth other than 8 bits.
    """

    def __init__(self, data: bytes, spec: ImageSpec, where: str) -> None:
        self._spec, self._where = spec, where
        if not data:
            raise BadInput(f"{where}: empty, where a JPEG or PNG file is wanted")
        # Pillow raises whatever the damage leads it to (OSError, SyntaxError, struct.error,
        # KeyError, …), so that here any exception means that the file does not decode.
        try:
            self._image = Image.open(io.BytesIO(data), formats=FORMATS)
        except UnidentifiedImageError:
            raise BadInput(f"{where}: neither a JPEG nor a PNG file") from None
        except Exception as error:
            raise self._damaged(error) from None
        _check_pixels(self._image.width, self._image.height, spec, where)
        if self._image.mode not in MODES:
            allowed = ", ".join(MODES)
            raise BadInput(f"{where}: pixels of mode {self._image.mode}; allowed are {allowed}")

    @property
    def nbytes(self) -> int:
        """Most bytes that it takes when it is decoded."""
        spec, sides = self._spec, self._image.size
        # Where one side is fixed, the camera's orientation, unknown yet, may put either in it.
        height, width = spec.height or max(sides), spec.width or max(sides)
        any_size = spec.height is None and spec.width is None
        return 4 * spec.channels * (math.prod(sides) if any_size else height * width)

    def decode(self) -> Images:
        """Return float32 `[channel, height, width]` in [0, 1].

        The camera's orientation (EXIF) is applied, transparency is dropped, and an image of another
        size than the model's fixed one is resized (bilinear, antialiased).

        Raises:
            BadInput: damaged, or cut short.
        """
        try:
            return _to_array(ImageOps.exif_transpose(self._image), self._spec)
        except Exception as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> BadInput:
        return BadInput(f"{self._where}: cannot be decoded: {one_line(error)}")


def check_images(array: NDArray[Any], spec: ImageSpec, where: str) -> NDArray[Any]:
    """Return a batch of raw images `[batch, channel, height, width]` as it is, if it is one.

    float32 and float16 are in [0, 1], uint8 up to 255; they are brought to float32 where they are
    copied for their run.

    Raises:
        BadInput: another type or shape, a value that is not finite or outside of [0, 1].
    """
    if array.dtype not in (np.float32, np.float16, np.uint8):
        raise BadInput(f"{where}: type {array.dtype}; allowed are float32, float16 and uint8")
    wanted = (spec.channels, spec.height, spec.width)
    sizes_fit = array.ndim == 4 and all(
        size > 0 if want is None else size == want
        for size, want in zip(array.shape[1:], wanted, strict=True)
    )
    if not sizes_fit or not len(array):
        raise BadInput(f"{where}: shape {list(array.shape)}; {spec} is wanted")
    _check_pixels(array.shape[3], array.shape[2], spec, where)
    if array.dtype == np.uint8:
        return array
    low, high = array.min(), array.max()  # both are NaN if any value is
    if not (low >= 0 and high <= 1):
        seen = "NaN" if np.isnan(low) else f"values from {low:g} to {high:g}"
        raise BadInput(f"{where}: {seen}; values in [0, 1] are wanted")
    return array


def _check_pixels(width: int, height: int, spec: ImageSpec, where: str) -> None:
    if width * height > spec.max_pixels:
        raise BadInput(
            f"{where}: {width}×{height} pixels; at most {spec.max_pixels} in all are allowed"
        )


def _to_array(image: Image.Image, spec: ImageSpec) -> Images:
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # else Pillow warns that it cannot keep the transparency
    image = image.convert("L" if spec.channels == 1 else "RGB")
    size = (spec.width or image.width, spec.height or image.height)
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(image).reshape(image.height, image.width, spec.channels)
    channels_first = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    scaled: Images = np.divide(channels_first, np.float32(255), dtype=np.float32)
    return scaled
