"""Graphs that take images of any size: as they are, or resized inside to the calibrated size."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from export.settings import ImageSize
from guard.errors import BadInput
from guard.guarded import GuardedClassifier

__all__ = ["AnySize", "Resized", "dynamic_axes", "named_axes", "other_sizes", "sized"]

CHECKED_IMAGES = 64
"""At each of the other sizes."""


class AnySize(GuardedClassifier):
    """A guarded classifier that is exported for images of any height and width."""

    def __init__(self, guarded: GuardedClassifier) -> None:
        super().__init__(guarded.model, guarded.detector)
        self._observe = guarded.observe

    def observe(self, images: Float[Tensor, "batch channel height width"]) -> dict[str, Any]:
        return self._observe(images)


class Resized(AnySize):
    """A guarded classifier that first resizes (bilinear, antialiased), then sees the image.

    Both the model and the probe of the input get the resized image. One that has the size already
    is left as it is.
    """

    def __init__(self, guarded: GuardedClassifier, size: tuple[int, int]) -> None:
        super().__init__(guarded)
        self.size = size

    def observe(self, images: Float[Tensor, "batch channel height width"]) -> dict[str, Any]:
        return super().observe(_resized(images, self.size))


def sized(
    guarded: GuardedClassifier, image_size: ImageSize, size: tuple[int, int]
) -> GuardedClassifier:
    """Return the module to export; it shares the model and the detector.

    Args:
        guarded: the model and its detector, in evaluation mode.
        image_size: see `ExportSettings`.
        size: the calibrated height and width.
    """
    if image_size == "fixed":
        return guarded
    made = AnySize(guarded) if image_size == "any" else Resized(guarded, size)
    return made.eval()


def dynamic_axes(guarded: GuardedClassifier) -> dict[int, Any]:
    """Return which axes of the images are of any size in the graph, for `torch.export`."""
    if not isinstance(guarded, AnySize):
        return {0: torch.export.Dim("batch")}
    # Not named dimensions: those take every size or none, and few networks take the smallest.
    return dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)


def named_axes(guarded: GuardedClassifier) -> dict[int, Any]:
    """Return the same for `torch.onnx.export`, which names such axes."""
    if not isinstance(guarded, AnySize):
        return dynamic_axes(guarded)
    return {0: "batch", 2: "height", 3: "width"}


def other_sizes(
    guarded: GuardedClassifier, images: Float[Tensor, "n c h w"]
) -> list[Float[Tensor, "m c x y"]]:
    """Return some of the images in other sizes and shapes, if the graph is to take such.

    Raises:
        BadInput: the model does not take them.
    """
    if not isinstance(guarded, AnySize):
        return []
    height, width = images.shape[2:]
    sizes = ((height * 3 // 2, width * 5 // 4), (height * 7 // 8, width * 3 // 4 + 1))
    others = [_resized(images[:CHECKED_IMAGES], size) for size in sizes]
    for other in others:
        try:
            with torch.no_grad():
                guarded(other[:2])
        except Exception as error:  # the model's code is the user's, and raises what it likes
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BadInput(
                f"export.image_size: any: the model takes {height}x{width} images, not "
                f"{other.shape[2]}x{other.shape[3]} ones: {reason}; `fixed` or `resized` is wanted"
            ) from None
    return others


def _resized(
    images: Float[Tensor, "batch channel height width"], size: tuple[int, int]
) -> Float[Tensor, "batch channel y x"]:
    return functional.interpolate(images, size, mode="bilinear", antialias=True)
