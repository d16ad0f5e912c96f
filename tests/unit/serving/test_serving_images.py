"""Images from outside: what is taken is exact, and what is refused is named."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from guard.errors import BadInput
from guard.serving.images import Encoded, ImageSpec, check_images

ANY_SIZE = ImageSpec(3, None, None, max_pixels=10_000)
FIXED = ImageSpec(3, 8, 6, max_pixels=10_000)
GREY = ImageSpec(1, None, None, max_pixels=10_000)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(data: bytes, spec: ImageSpec, where: str = "image") -> NDArray[np.float32]:
    file = Encoded(data, spec, where)
    image = file.decode()
    assert image.nbytes <= file.nbytes
    if spec.height is None or spec.width is not None:
        assert image.nbytes == file.nbytes
    return image


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_png_comes_back_exactly() -> None:
    pixels = noise(8, 6)
    image = decoded(encoded(Image.fromarray(pixels)), ANY_SIZE)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, pixels.transpose(2, 0, 1).astype(np.float32) / 255)


def test_camera_orientation_is_applied() -> None:
    pixels = noise(4, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned clockwise by 90° to be seen upright
    image = decoded(encoded(Image.fromarray(pixels), exif=exif), ANY_SIZE)
    upright = np.rot90(pixels, k=-1).transpose(2, 0, 1)
    np.testing.assert_array_equal(image, upright.astype(np.float32) / 255)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("spec", [ANY_SIZE, GREY], ids=["rgb", "grey"])
def test_every_mode_becomes_the_models_channels(mode: str, spec: ImageSpec) -> None:
    white = Image.new("RGB", (5, 4), "white").convert(mode)
    image = decoded(encoded(white), spec)
    np.testing.assert_array_equal(image, np.ones((spec.channels, 4, 5), np.float32))


def test_palette_with_transparency_keeps_its_colours() -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    data = encoded(image, transparency=bytes([0, 255]))
    red = np.array([1, 0, 0], np.float32)[:, None, None]
    np.testing.assert_array_equal(decoded(data, ANY_SIZE), np.broadcast_to(red, (3, 2, 2)))


def test_fixed_size_resizes_without_aliasing() -> None:
    """A fine chequerboard, shrunk 8 times, is grey; plain bilinear sampling would keep stripes."""
    board = np.indices((64, 48)).sum(0) % 2 * 255
    image = Image.fromarray(board.astype(np.uint8)).convert("RGB")
    small = decoded(encoded(image), FIXED)
    assert small.shape == (3, 8, 6)
    assert np.abs(small - 0.5).max() < 0.02


def bomb(width: int, height: int) -> bytes:
    """Return a PNG whose header promises more pixels than its few bytes hold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64))


PNG = encoded(Image.fromarray(noise(40, 40)))
JPEG = encoded(Image.fromarray(noise(40, 40)), "JPEG")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"not an image", "neither a JPEG nor a PNG"),
        (encoded(Image.fromarray(noise(4, 4)), "BMP"), "neither a JPEG nor a PNG"),
        (encoded(Image.fromarray(noise(4, 4)), "GIF"), "neither a JPEG nor a PNG"),
        (PNG[: len(PNG) // 2], "cannot be decoded"),
        (JPEG[: len(JPEG) // 2], "cannot be decoded"),
        (PNG[:200] + b"\0\xff" * 40 + PNG[280:], "cannot be decoded"),
        (bomb(101, 100), "101×100 pixels; at most 10000"),
        (bomb(12_000, 12_000), "pixels"),
        (bomb(2**31 - 1, 2**31 - 1), "pixels"),
        (encoded(Image.new("I;16", (4, 4))), "mode I;16"),
        (encoded(Image.new("CMYK", (4, 4)), "JPEG"), "mode CMYK"),
    ],
)
def test_bad_files_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        decoded(data, ANY_SIZE, "photo.png")
    assert str(caught.value).startswith("photo.png: ")
    assert "\n" not in str(caught.value)


def test_damage_anywhere_is_refused_or_decoded() -> None:
    """Whatever byte is wrong, the outcome is an image or BadInput, and nothing else."""
    generator = np.random.default_rng(0)
    refused = 0
    for data in (PNG, JPEG):
        for position in generator.integers(0, len(data), 150):
            damaged = bytearray(data)
            damaged[position] ^= int(generator.integers(1, 256))
            try:
                assert decoded(bytes(damaged), ANY_SIZE).shape[0] == 3
            except BadInput:
                refused += 1
    assert refused > 50


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_numbers_are_passed_on_without_a_copy(dtype: type) -> None:
    top = 255 if dtype is np.uint8 else 1
    images = np.linspace(0, top, 2 * 3 * 4 * 5).astype(dtype).reshape(2, 3, 4, 5)
    assert check_images(images, ANY_SIZE, "images") is images


def spoilt(value: float) -> NDArray[np.float32]:
    images = np.full((1, 3, 4, 4), 0.5, np.float32)
    images[0, 1, 2, 3] = value
    return images


@pytest.mark.parametrize(
    ("images", "spec", "message"),
    [
        (np.zeros((1, 3, 4, 4)), ANY_SIZE, "type float64; allowed are"),
        (np.zeros((3, 4, 4), np.float32), ANY_SIZE, r"shape \[3, 4, 4\]; \[batch, 3, any, any\]"),
        (np.zeros((1, 1, 4, 4), np.float32), ANY_SIZE, r"\[batch, 3, any, any\] is wanted"),
        (np.zeros((0, 3, 4, 4), np.float32), ANY_SIZE, "shape"),
        (np.zeros((1, 3, 0, 4), np.float32), ANY_SIZE, "shape"),
        (np.zeros((1, 3, 8, 7), np.float32), FIXED, r"\[batch, 3, 8, 6\] is wanted"),
        (np.zeros((1, 3, 101, 100), np.float32), ANY_SIZE, "100×101 pixels"),
        (spoilt(np.nan), ANY_SIZE, "NaN; values in"),
        (spoilt(np.inf), ANY_SIZE, "values from 0.5 to inf"),
        (spoilt(-np.inf), ANY_SIZE, "values from -inf to 0.5"),
        (spoilt(1.001), ANY_SIZE, "to 1.001"),
        (spoilt(-0.001), ANY_SIZE, "from -0.001"),
        (spoilt(255), ANY_SIZE, "to 255"),
    ],
)
def test_bad_tensors_are_refused(images: NDArray[Any], spec: ImageSpec, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        check_images(images, spec, "input 'images'")
    assert str(caught.value).startswith("input 'images': ")
