"""Images as arrays: what is made of them before they are written."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

__all__ = ["Picture", "as_pixels", "difference", "side_by_side"]

Picture = Float[np.ndarray, "channel height width"]
"""One image in [0, 1], with 1 or 3 channels."""


def as_pixels(picture: Picture) -> UInt8[np.ndarray, "height width 3"]:
    """Return 8-bit RGB."""
    pixels = np.round(picture.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def difference(before: Picture, after: Picture) -> tuple[Picture, float]:
    """Return a picture of `after` - `before`, with mid-grey for no change, and its amplification.

    It is stretched so that the largest change becomes black or white; amplified 1 times, a change
    from black to white does. Where nothing changed there is nothing to amplify: 1.
    """
    change = after.astype(np.float64) - before
    largest = float(np.abs(change).max())
    amplification = 1 / largest if largest else 1.0
    return (0.5 + amplification * change / 2).astype(np.float32), amplification


def side_by_side(pictures: Sequence[Picture], widest: int) -> Image.Image:
    """Join pictures of one size into a row; those wider than `widest` pixels are made smaller."""
    row = Image.fromarray(np.concatenate([as_pixels(picture) for picture in pictures], axis=1))
    height, width = pictures[0].shape[1:]
    if width <= widest:
        return row
    size = (widest * len(pictures), round(height * widest / width))
    return row.resize(size, Image.Resampling.LANCZOS)
