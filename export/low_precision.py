"""A guarded classifier whose model computes in float16 or bfloat16, and whose detector does not."""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from guard.guarded import GuardedClassifier
from guard.probes import INPUT

__all__ = ["LowPrecision"]


class LowPrecision(GuardedClassifier):
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
