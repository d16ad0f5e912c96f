"""Boxes of objects drawn onto an image: those that are there, and those that a detector found."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from offline.evaluation.image_arrays import Picture, as_pixels

__all__ = ["DrawnBox", "draw_boxes"]

DASH, THICK = 4, 2
# Told apart without red and green, and by their lines (after Okabe and Ito).
TRUTH, FOUND, INK = (255, 255, 255), (255, 176, 0), (20, 20, 20)


@dataclass(frozen=True)
class DrawnBox:
    """A box in pixels from the upper left corner: left, upper, right and lower border.

    Attributes:
        corners: the borders.
        text: written at its upper left corner; nothing where it is empty.
        is_truth: it is there, a dashed white line; otherwise it was found, a yellow one.
    """

    corners: tuple[float, float, float, float]
    text: str = ""
    is_truth: bool = False


def draw_boxes(picture: Picture, boxes: Sequence[DrawnBox]) -> Float[np.ndarray, "3 height width"]:
    """Return an RGB image with the boxes on it, those that were found above those that are there.

    A box that reaches beyond the image is cut at its border.
    """
    image = Image.fromarray(as_pixels(picture))
    drawing = ImageDraw.Draw(image)
    for box in sorted(boxes, key=lambda each: not each.is_truth):
        _outline(drawing, box, image.size)
    for box in boxes:
        if box.text:
            _label(drawing, box, image.size)
    return (np.asarray(image).transpose(2, 0, 1) / 255).astype(np.float32)


def _outline(drawing: ImageDraw.ImageDraw, box: DrawnBox, size: tuple[int, int]) -> None:
    left, upper, right, lower = _within(box, size)
    if not box.is_truth:
        for inset in range(min(THICK, (right - left) // 2 + 1, (lower - upper) // 2 + 1)):
            corners = (left + inset, upper + inset, right - inset, lower - inset)
            drawing.rectangle(corners, outline=FOUND)
        return
    for start in range(left, right + 1, 2 * DASH):
        end = min(start + DASH - 1, right)
        drawing.line((start, upper, end, upper), fill=TRUTH)
        drawing.line((start, lower, end, lower), fill=TRUTH)
    for start in range(upper, lower + 1, 2 * DASH):
        end = min(start + DASH - 1, lower)
        drawing.line((left, start, left, end), fill=TRUTH)
        drawing.line((right, start, right, end), fill=TRUTH)


def _label(drawing: ImageDraw.ImageDraw, box: DrawnBox, size: tuple[int, int]) -> None:
    """Write a text above the box, or inside where the image ends above it."""
    left, upper, *_ = _within(box, size)
    font = ImageFont.load_default(max(9.0, size[0] / 45))
    wide, high = (round(end) for end in drawing.textbbox((0, 0), box.text, font=font)[2:])
    left = max(0, min(left, size[0] - wide - 4))
    upper = upper - high - 2 if upper > high + 2 else upper + 1
    drawing.rectangle((left, upper, left + wide + 3, upper + high + 2), fill=INK)
    drawing.text((left + 2, upper), box.text, fill=TRUTH if box.is_truth else FOUND, font=font)


def _within(box: DrawnBox, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the first and last pixels of a box that lie in the image."""
    left, upper, right, lower = box.corners
    width, height = size
    first = (min(max(0, round(left)), width - 1), min(max(0, round(upper)), height - 1))
    last = (min(round(right), width) - 1, min(round(lower), height) - 1)
    return *first, max(first[0], last[0]), max(first[1], last[1])
