"""What a semantic attack on a classifier raises, and when it is there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from guard.errors import BadInput
from offline.attacks import cross_entropy, lowered_score, margin
from offline.counterexamples.attack_settings import AttackSettings

__all__ = ["Aim", "aim_of", "distance"]

LOSSES = {"logit": lowered_score, "cross_entropy": cross_entropy, "margin": margin}


@dataclass(frozen=True)
class Aim:
    """Away from the true classes, or towards targets.

    Attributes:
        loss: one of `LOSSES`.
        labels: the true classes.
        targets: the classes that the model is to see instead; None: any of the others.
    """

    loss: str
    labels: Int64[Tensor, " row"]
    targets: Int64[Tensor, " row"] | None

    def rows(self, rows: Int64[Tensor, " some"]) -> "Aim":
        """Return the aim of some scenes."""
        targets = None if self.targets is None else self.targets[rows]
        return replace(self, labels=self.labels[rows], targets=targets)

    def value(self, logits: Float[Tensor, "row class"]) -> Float[Tensor, " row"]:
        """Return what is raised: the loss of the true class, or minus that of the target."""
        loss = LOSSES[self.loss]
        return loss(logits, self.labels) if self.targets is None else -loss(logits, self.targets)

    def hit(self, predicted: Int64[Tensor, " row"]) -> Bool[Tensor, " row"]:
        """Say where the model errs as it is to err."""
        wrong = predicted != self.labels
        return wrong if self.targets is None else wrong & (predicted == self.targets)

    def impossible(self) -> Bool[Tensor, " row"]:
        """Say where the target is the true class: to see it is no error."""
        none = torch.zeros_like(self.labels, dtype=torch.bool)
        return none if self.targets is None else self.targets == self.labels


def aim_of(
    settings: AttackSettings,
    logits: Float[Tensor, "batch class"],
    labels: Int64[Tensor, " batch"],
) -> Aim:
    """Return the aim of an attack on scenes that the model gives these logits.

    Raises:
        BadInput: a label or the target is no class of the model.
    """
    classes = logits.shape[1]
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise BadInput(f"label {int(wrong[0])}: the model has the classes 0 to {classes - 1}")
    loss = settings.loss or ("margin" if settings.attack == "sCW" else "logit")
    if settings.target is None:
        return Aim(loss, labels, None)
    if settings.target == "least_likely":
        return Aim(loss, labels, logits.argmin(dim=1))
    if settings.target >= classes:
        raise BadInput(f"target {settings.target}: the model has the classes 0 to {classes - 1}")
    return Aim(loss, labels, torch.full_like(labels, settings.target))


def distance(
    theta: Mapping[str, Float[Tensor, "row ..."]],
    origin: Mapping[str, Float[Tensor, "row ..."]],
    norm: int,
) -> Float[Tensor, " row"]:
    """‖π‖_p of each scene over all the features that move (000, equation 4)."""
    moved = [(theta[name] - origin[name]).flatten(1) for name in theta]
    far: Tensor = torch.linalg.vector_norm(torch.cat(moved, dim=1), ord=norm, dim=1)
    return far
