"""What a guarded model says about many images, a batch at a time."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from guard.errors import CornerguardError
from guard.progress import track
from offline.datasets import ImageSet, batches
from offline.models import device_of

__all__ = ["Inspection", "inspect", "inspect_set"]


class Inspection(NamedTuple):
    """The guarded model's outputs that evaluation needs, on the CPU."""

    labels: Int64[Tensor, " n"]
    discrepancy: Float[Tensor, "n layer"]
    scores: Float[Tensor, " n"]
    valid: Bool[Tensor, " n"]


def inspect(
    guarded: nn.Module, images: Float[Tensor, "n c h w"], batch_size: int = 256
) -> Inspection:
    """Run a `GuardedClassifier` on images in [0, 1]; it is put into eval mode and left there.

    Raises:
        CornerguardError: a score is not finite, so that no image can be ranked by it.
    """
    return _run(guarded, images.split(batch_size))


def inspect_set(guarded: nn.Module, image_set: ImageSet, batch_size: int = 256) -> Inspection:
    """Run a `GuardedClassifier` on every image of a set, in its order; see `inspect`."""
    steps = -(-len(image_set) // batch_size)
    pieces = track(batches(image_set, batch_size), "Inspecting clean images", steps)
    return _run(guarded, (images for images, _ in pieces))


def _run(guarded: nn.Module, pieces: Iterable[Tensor]) -> Inspection:
    guarded.eval()
    device = device_of(guarded)
    found: list[tuple[Tensor, ...]] = []
    with torch.inference_mode():
        for images in pieces:
            output = guarded(images.to(device))
            kept = (output.label, output.discrepancy, output.score, output.valid)
            found.append(tuple(value.cpu() for value in kept))
    whole = Inspection(*(torch.cat(parts) for parts in zip(*found, strict=True)))
    bad = int((~whole.scores.isfinite()).sum())
    if bad:
        raise CornerguardError(
            f"the joint discrepancy of {bad} of {len(whole.scores)} images is not finite"
        )
    return whole
