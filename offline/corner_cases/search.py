"""The grid search for natural corner cases: sections 3.3.1 and 3.4.2, Table 3.5.

A transformation is applied to a fixed set of correctly classified images with growing strength
until the share that the model gets wrong, the success rate, reaches 60 %; if it never does, the
last strength stands. Transformations that end below 30 % are dropped.

The thesis combines two transformations with the parameters found and takes "the combination that
results in the smallest deformation". Deformation is measured here as the mean absolute change of a
pixel, and only those combinations count that succeed at least as often as both of their parts.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn

from guard.errors import BadInput
from guard.progress import track
from guard.settings import Settings
from offline.corner_cases.found import CornerCases, CornerCaseSearch, Dropped
from offline.corner_cases.prediction import predict
from offline.corner_cases.search_space import TRANSFORMATIONS, Deformation, Transformation
from offline.corner_cases.transformations import Border
from offline.datasets import ImageSet
from offline.models import device_of

__all__ = [
    "CornerCaseSettings",
    "Seeds",
    "find_corner_cases",
    "seed_images",
]

Name = Literal[
    "brightness",
    "contrast",
    "complement",
    "rotation",
    "shear",
    "scale",
    "translation",
    "combined",
]


class CornerCaseSettings(Settings):
    """How natural corner cases are searched; the defaults are the thesis's (section 3.4.2).

    Attributes:
        seeds: how many correctly classified images are deformed.
        border: what fills an image from outside: black, or the image mirrored.
        transformations: which are tried; `combined` joins two of those that were kept.
        stop_at: the success rate at which the strength stops growing.
        keep_from: the final success rate below which a transformation is dropped.
    """

    seeds: int = Field(default=200, ge=1)
    border: Border = "zeros"
    transformations: tuple[Name, ...] = Field(default=get_args(Name), min_length=1)
    stop_at: float = Field(default=0.6, gt=0, le=1)
    keep_from: float = Field(default=0.3, ge=0, le=1)


class Seeds(NamedTuple):
    """Correctly classified images, their labels, and their places in the set they came from."""

    images: Float[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]
    indices: Int64[Tensor, " n"]


def seed_images(model: nn.Module, image_set: ImageSet, count: int, seed: int) -> Seeds:
    """Draw `count` images at random among those that the model classifies correctly.

    Raises:
        BadInput: there are fewer.
    """
    order = torch.randperm(len(image_set), generator=torch.Generator().manual_seed(seed))
    found: list[Tensor] = []
    missing = count
    for piece in order.split(max(count, 64)):
        right = piece[predict(model, image_set.fetch(piece)).labels == image_set.labels[piece]]
        found.append(right[:missing])
        missing -= len(found[-1])
        if not missing:
            break
    else:
        raise BadInput(
            f"corner cases: {count} seed images are wanted, the model classifies only "
            f"{count - missing} of {len(image_set)} correctly"
        )
    indices = torch.cat(found)
    return Seeds(image_set.fetch(indices), image_set.labels[indices], indices)


def find_corner_cases(
    model: nn.Module, seeds: Seeds, settings: CornerCaseSettings
) -> CornerCaseSearch:
    """Deform the seeds ever more strongly until the model errs; see the head of this module."""
    kept: list[CornerCases] = []
    dropped: list[Dropped] = []
    seeds = seeds._replace(images=seeds.images.to(device_of(model)))
    wanted = [t for name, t in TRANSFORMATIONS.items() if name in settings.transformations]
    for transformation in track(wanted, "Searching natural corner cases", len(wanted)):
        if transformation.name == "complement" and seeds.images.shape[1] != 1:
            dropped.append(Dropped("complement", "applies to grey images only", None))
            continue
        cases = _grow(model, seeds, transformation, settings)
        if cases.success_rate >= settings.keep_from:
            kept.append(cases)
        else:
            dropped.append(Dropped(cases.name, _too_weak(cases, settings), cases.success_rate))
    if "combined" in settings.transformations:
        combined = _combine(model, seeds, kept, settings.border)
        if isinstance(combined, Dropped):
            dropped.append(combined)
        else:
            kept.append(combined)
    return CornerCaseSearch(tuple(kept), tuple(dropped))


def _grow(
    model: nn.Module, seeds: Seeds, transformation: Transformation, settings: CornerCaseSettings
) -> CornerCases:
    for configuration in transformation.growth:
        deformation = Deformation(((transformation.name, configuration),), settings.border)
        cases = _deform(model, seeds, transformation.name, deformation)
        if cases.success_rate >= settings.stop_at:
            break
    return cases


def _too_weak(cases: CornerCases, settings: CornerCaseSettings) -> str:
    return (
        f"success rate {cases.success_rate:.1%} at the strongest setting "
        f"({cases.deformation.describe()}), below {settings.keep_from:.0%}"
    )


def _combine(
    model: nn.Module, seeds: Seeds, parts: Sequence[CornerCases], border: Border
) -> CornerCases | Dropped:
    candidates = []
    for first, second in combinations(parts, 2):
        deformation = Deformation(first.deformation.steps + second.deformation.steps, border)
        cases = _deform(model, seeds, "combined", deformation)
        if cases.success_rate >= max(first.success_rate, second.success_rate):
            change = (cases.images - seeds.images.cpu()).abs().mean().item()
            candidates.append((change, cases))
    if not candidates:
        return Dropped("combined", "no two transformations succeed as often as their parts", None)
    return min(candidates, key=lambda candidate: candidate[0])[1]


def _deform(model: nn.Module, seeds: Seeds, name: str, deformation: Deformation) -> CornerCases:
    images = deformation(seeds.images)
    found = predict(model, images)
    return CornerCases(
        name, deformation, images.cpu(), seeds.labels, found.labels, found.confidences
    )
