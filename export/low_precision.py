"""A guarded classifier whose model computes in float16 or bfloat16, and whose detector does not."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from export.image_size import sized
from export.settings import ImageSize, Precision
from guard.errors import CornerguardError
from guard.guarded import GuardedClassifier
from guard.probes import INPUT

__all__ = ["lowered"]

TYPES: Mapping[Precision, torch.dtype] = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def lowered(
    guarded: GuardedClassifier,
    precision: Precision,
    image_size: ImageSize,
    images: Float[Tensor, "b c h w"],
) -> GuardedClassifier:
    """Copy the model of a guarded classifier so that it computes in a lower precision.

    Args:
        guarded: in float32; it is not changed, and its detector is shared.
        precision: `float16` or `bfloat16`.
        image_size: which sizes of images are taken.
        images: of the size that it was calibrated at; it must run on them.

    Raises:
        CornerguardError: the model does not run in this precision.
    """
    size = (images.shape[2], images.shape[3])
    module = sized(_LowPrecision(guarded, TYPES[precision]).eval(), image_size, size)
    try:
        with torch.no_grad():
            module(images)
    except RuntimeError as error:
        raise CornerguardError(
            f"the model does not run in {precision}: {str(error).splitlines()[0]}; "
            f"leave {precision} out of export.precisions"
        ) from None
    return module


class _LowPrecision(GuardedClassifier):
    """A copy of a guarded classifier whose model's weights and computation are of a shorter type.

    Images come and all outputs go as float32. The detector stays float32 and gets what it watches
    as such: the exponents of its kernels are differences of large numbers.
    """

    def __init__(self, guarded: GuardedClassifier, dtype: torch.dtype) -> None:
        super().__init__(copy.deepcopy(guarded.model).to(dtype), guarded.detector)
        self.dtype = dtype

    def observe(self, images: Float[Tensor, "batch channel height width"]) -> dict[str, Any]:
        seen = super().observe(images.to(self.dtype))
        return {layer: value.float() for layer, value in seen.items()} | {INPUT: images}
