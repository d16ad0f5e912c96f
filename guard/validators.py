"""The single validators: what one layer, or the logits, say against an image."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from guard.one_class_svm import OneClassSVMs
from guard.probes import ENERGY, Standardisation, Whitening

__all__ = ["DistanceValidator", "Energy", "Validator"]


class Validator(nn.Module):
    """A single validator: the discrepancy of one layer, minus the log ratio of its SVM.

    It orders the images of a class as the thesis's discrepancy does (see `DistanceValidator`), and
    goes on growing where that one has reached its bound.

    Attributes:
        layer: the name of the layer that it watches.
        reduction: activation to features (`guard.probes`).
        scaling: features to features of like scale (`guard.probes`).
        svms: one one-class SVM per class.
    """

    def __init__(
        self,
        layer: str,
        reduction: nn.Module,
        scaling: Standardisation | Whitening,
        svms: OneClassSVMs,
    ) -> None:
        super().__init__()
        self.layer = layer
        self.reduction, self.scaling, self.svms = reduction, scaling, svms
        self.classes = len(svms.offsets)

    def forward(
        self, activation: Float[Tensor, "batch ..."], label: Int64[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return the discrepancy under the predicted class, positive for outliers."""
        return -self.svms.log_ratio(self.features(activation), label)

    def features(self, activation: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch feature"]:
        """Return what the SVMs see of an activation."""
        features: Tensor = self.scaling(self.reduction(activation))
        return features


class DistanceValidator(Validator):
    """A single validator as in the thesis: minus the signed distance (equation 3.2)."""

    def forward(
        self, activation: Float[Tensor, "batch ..."], label: Int64[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return the discrepancy under the predicted class, positive for outliers."""
        distance: Tensor = self.svms(self.features(activation), label)
        return -distance


class Energy(nn.Module):
    """The validator of the logits: their free energy -log Σ exp(logit) (Liu et al. 2020).

    It sees what the layers do not: that the network answers, but faintly. Its discrepancy is the
    energy itself, in the logits' units. Logits know no bound, distances in kernel space do: lest an
    image buy off every layer by sheer confidence, the energy counts as no lower than that of the
    surest training image of its class.

    Attributes:
        layer: `energy`.
        ceilings: [class], the largest log Σ exp(logit) of training images.
    """

    ceilings: Tensor

    def __init__(self, ceilings: Float[Tensor, " class"]) -> None:
        super().__init__()
        self.layer, self.classes = ENERGY, len(ceilings)
        self.register_buffer("ceilings", ceilings)

    def forward(
        self, logits: Float[Tensor, "batch class"], label: Int64[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return the energy, no lower than minus the ceiling of the predicted class."""
        sureness, ceiling = logits.logsumexp(dim=1), self.ceilings.index_select(0, label)
        # Not a minimum: runtimes disagree on that of NaN, which must stay NaN.
        return -torch.where(sureness > ceiling, ceiling, sureness)
