"""Retraining on counterexamples: mixed in, alone, or in turn with perturbed pixels."""

import copy
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Int64
from torch import nn

from guard.errors import BadInput
from offline.attacks import pgd
from offline.datasets import ImageSet, Subset
from offline.hardening.mixing import Replaced
from offline.hardening.trainer import train
from offline.hardening.training_settings import TrainSettings
from offline.models import device_of

__all__ = ["Stage", "counterexamples_only", "perturbed_pixels", "tuned"]

Stage = Callable[[nn.Module], ImageSet]
"""The model as the stage before left it to the images that it is trained on next."""


def tuned(
    model: nn.Module,
    stages: Sequence[Stage],
    settings: TrainSettings,
    seed: int,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Return a copy of a model, trained further by one stage after the other.

    One stage of `replace_share` is the retraining of 000 (appendix E.6) and 001 (section 5.2), one
    of `counterexamples_only` the tuning of 001. Two stages are its hybrid tuning (appendix A.2): on
    `perturbed_pixels` of the model that counterexamples have made robust, or the other way round.

    Args:
        model: where the training starts; it is not changed.
        stages: each makes the training images from the model as it has become.
        settings: of every stage.
        seed: of everything random; each stage has its own from it.
        device: where the model is trained; the copy stays there, in eval mode.

    Raises:
        BadInput: there is no stage.
        CornerguardError: a training diverged.
    """
    if not stages:
        raise BadInput("tuning without a stage; at least one is wanted")
    tuned = copy.deepcopy(model).to(device)
    for number, stage in enumerate(stages):
        tuned.eval()
        train(tuned, stage(tuned), settings, seed + number, device)
    return tuned


def counterexamples_only(replaced: Replaced) -> Subset:
    """Return the images of a set that were replaced: counterexamples alone (001, section 5.2)."""
    return Subset(replaced, replaced.rows)


def perturbed_pixels(
    model: nn.Module,
    image_set: ImageSet,
    rows: Int64[torch.Tensor, " m"],
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    batch_size: int = 64,
) -> Replaced:
    """Replace images by what PGD makes of their pixels: the pixel perturbations of 001.

    Args:
        model: what is attacked; on its own device, in eval mode.
        image_set: in which images are replaced.
        rows: which of them.
        epsilon, step_size, steps: of PGD under l∞, lengths in units of [0, 1].
        batch_size: how many are attacked at once.

    Raises:
        BadInput: no row, a row is not in the set or named twice, or `epsilon` is not in (0, 1].
    """
    if not len(rows):
        raise BadInput("pixels of no image are perturbed; at least one row is wanted")
    device, pieces = device_of(model), []
    for part in rows.split(batch_size):
        images, labels = image_set.fetch(part).to(device), image_set.labels[part].to(device)
        moved = pgd(model, images, labels, epsilon=epsilon, step_size=step_size, steps=steps)
        pieces.append((moved * 255).round().to(torch.uint8).cpu())
    return Replaced(image_set, torch.cat(pieces), rows)
