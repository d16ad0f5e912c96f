"""What a person sets of training, and what follows from it alone: schedule, augmentation."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from guard.settings import Settings

__all__ = ["Augmentation", "TrainSettings", "augmented", "learning_rate_at"]


class Augmentation(Settings):
    """Random changes of each training image.

    Attributes:
        shift: a random crop of the image padded with this many black pixels: a shift by as many.
        flip: mirror left and right, half of the time.
    """

    shift: int = Field(default=0, ge=0)
    flip: bool = False


class TrainSettings(Settings):
    """How a model is trained by stochastic gradient descent with Nesterov momentum.

    Attributes:
        epochs: passes over the images.
        batch_size: images to a step.
        learning_rate: the peak of the schedule.
        schedule: `one_cycle` rises over the first `warm_up` of the steps and falls as a cosine;
            `steps` divides by 10 at each milestone; `constant` stays.
        warm_up: the part of the steps in which `one_cycle` rises.
        milestones: where `steps` divides, as parts of the training (004 divides at 75 and 90 %).
        momentum: of the descent.
        weight_decay: of every parameter.
        clip: the greatest norm of a step's gradient; no limit where None.
        average: decay of the exponential moving average of the weights that training ends with;
            no average where None.
        augmentation: random changes of the training images.
        precision: `bfloat16` runs the convolutions in it and keeps the weights in float32.
    """

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=128, ge=2)
    learning_rate: float = Field(default=0.1, gt=0)
    schedule: Literal["one_cycle", "steps", "constant"] = "one_cycle"
    warm_up: float = Field(default=0.25, gt=0, lt=1)
    milestones: tuple[float, ...] = (0.75, 0.9)
    momentum: float = Field(default=0.9, gt=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    clip: float | None = Field(default=None, gt=0)
    average: float | None = Field(default=None, gt=0, lt=1)
    augmentation: Augmentation = Augmentation()
    precision: Literal["float32", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _milestones_rise(self) -> "TrainSettings":
        if any(not 0 < part < 1 for part in self.milestones):
            raise ValueError("milestones are parts of the training, between 0 and 1")
        return self


def learning_rate_at(step: int, total: int, settings: TrainSettings) -> float:
    """Return the learning rate of step 0 ≤ `step` < `total`.

    `one_cycle` is torch's `OneCycleLR` with cosine annealing (from 1/25 of the peak, to 1/250,000
    of it). A function of the step has no state that a resumed run would need.
    """
    peak = settings.learning_rate
    if settings.schedule == "constant":
        return peak
    if settings.schedule == "steps":
        return float(peak * 0.1 ** sum(step >= part * total for part in settings.milestones))
    top = settings.warm_up * total - 1
    if step <= top:
        return _cosine(peak / 25, peak, step / top if top > 0 else 1.0)
    return _cosine(peak, peak / 25e4, (step - top) / (total - 1 - top))


def augmented(
    images: Float[Tensor, "batch channel height width"],
    augmentation: Augmentation,
    generator: torch.Generator,
) -> Float[Tensor, "batch channel height width"]:
    """Change each image at random, all of a batch at once; `generator` lives on the CPU."""
    count, _, height, width = images.shape
    if augmentation.shift:
        reach = 2 * augmentation.shift + 1
        down, right = torch.randint(reach, (2, count), generator=generator).to(images.device)
        padded = functional.pad(images, [augmentation.shift] * 4)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        images = windows[torch.arange(count, device=images.device), :, down, right]
    if augmentation.flip:
        mirrored = torch.rand(count, generator=generator).to(images.device) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * part))
