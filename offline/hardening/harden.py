"""Adversarial training on PGD-LS and on semantic counterexamples: SPAT over Madry, TRADES, MART."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int64, UInt8
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from guard.errors import BadInput
from offline.attacks import checked_epsilon, checked_smoothing, pgd, smoothed
from offline.datasets import ImageSet
from offline.hardening.losses import madry_loss, mart_loss, trades_loss
from offline.hardening.mixing import replace_share
from offline.hardening.trainer import BatchLoss, TrainingHistory, train
from offline.hardening.training_settings import TrainSettings

__all__ = ["HardenSettings", "harden", "spat"]

SMOOTHING = {"madry": 0.2, "trades": 0.1, "mart": 0.3}
WEIGHT = {"madry": 0.0, "trades": 6.0, "mart": 5.0}


def _allowed(check: Callable[[float], float]) -> AfterValidator:
    """Make a check of a value into one of a setting, whose message names the line."""

    def validate(value: float) -> float:
        try:
            return check(value)
        except BadInput as error:
            raise ValueError(str(error)) from None

    return AfterValidator(validate)


class HardenSettings(TrainSettings):
    """How a model is hardened; the defaults are the thesis's for CIFAR-10 (004, chapter 6).

    Attributes:
        method: the outer loss (004, section 4.3).
        smoothing: α of PGD-LS; 0 is plain PGD-CE. The thesis's best at ε = 8/255 where it is left
            out: 0.2 for madry, 0.1 for trades, 0.3 for mart. A larger ε wants a larger α.
        weight: λ, the weight of the KL term; 6 for trades and 5 for mart where it is left out.
        epsilon: radius of the l∞ ball, for images in [0, 1].
        step_size: of PGD; ε / 4 where it is left out.
        steps: of PGD, after a random start.
        counterexample_share: the fraction of the training images that is replaced by their
            semantic counterexamples, where there are any (000, appendix E.6).
    """

    method: Literal["madry", "trades", "mart"] = "madry"
    smoothing: Annotated[float, _allowed(checked_smoothing)] | None = None
    weight: float | None = Field(default=None, gt=0)
    epsilon: Annotated[float, _allowed(checked_epsilon)] = 8 / 255
    step_size: float | None = Field(default=None, gt=0, le=1)
    steps: int = Field(default=10, ge=1)
    counterexample_share: float = Field(default=0.5, ge=0, le=1)


def harden(
    model: nn.Module,
    image_set: ImageSet,
    settings: HardenSettings,
    seed: int,
    device: torch.device | str = "cpu",
    *,
    counterexamples: UInt8[Tensor, "m c h w"] | None = None,
    rows: Int64[Tensor, " m"] | None = None,
    checkpoint: Path | None = None,
) -> TrainingHistory:
    """Train `model` further, in place, on adversarial images and semantic counterexamples.

    Args:
        model: images to logits; it ends on `device`, in eval mode.
        image_set: the training images.
        settings: the method, its attack, and the training.
        seed: of everything random.
        device: where the model is trained.
        counterexamples: images that replace some of the training images; their labels stay.
        rows: which training image each of them was made from.
        checkpoint: as in `train`.

    Raises:
        BadInput: counterexamples without rows or of another shape, and as `train`.
        CornerguardError: the training diverged.
    """
    if (counterexamples is None) != (rows is None):
        raise BadInput("counterexamples want the rows of the images that they were made from")
    if counterexamples is not None and rows is not None:
        share = settings.counterexample_share
        image_set = replace_share(image_set, counterexamples, rows, share, seed)
    loss = spat(settings)
    return train(model, image_set, settings, seed, device, batch_loss=loss, checkpoint=checkpoint)


def spat(settings: HardenSettings) -> BatchLoss:
    """Return the loss of a batch: PGD-LS inside, the method's loss outside (004, section 4.3)."""
    smoothing = SMOOTHING[settings.method] if settings.smoothing is None else settings.smoothing
    weight = WEIGHT[settings.method] if settings.weight is None else settings.weight
    objective = smoothed(smoothing)

    def loss(
        model: nn.Module,
        images: Float[Tensor, "batch channel height width"],
        labels: Int64[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        adversarial = pgd(
            model,
            images,
            labels,
            epsilon=settings.epsilon,
            step_size=settings.step_size or settings.epsilon / 4,
            steps=settings.steps,
            objective=objective,
            generator=generator,
        )
        adversarial_logits = model(adversarial).float()
        if settings.method == "madry":
            return madry_loss(adversarial_logits, labels)
        outer = trades_loss if settings.method == "trades" else mart_loss
        return outer(model(images).float(), adversarial_logits, labels, weight)

    return loss
