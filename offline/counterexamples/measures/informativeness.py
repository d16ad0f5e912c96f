"""How much a set of counterexamples can teach: information worth, and accuracy per class.

000, section 3 and Appendix C. Pure functions of memberships or predictions and the true labels.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

__all__ = [
    "binary_membership",
    "fractional_membership",
    "information_worth",
    "normalised_accuracy",
]


def binary_membership(
    predicted: Int64[Tensor, " point"], classes: int
) -> Float[Tensor, "point class"]:
    """μ_i(x) = 1[F(x) = i]: each point belongs to the subset of its predicted class."""
    return functional.one_hot(predicted, classes).to(torch.float64)


def fractional_membership(
    logits: Float[Tensor, "point class"],
) -> Float[Tensor, "point class"]:
    """μ_i(x) = s(F)(x)_i: each point belongs to every subset by its softmax value."""
    return logits.to(torch.float64).softmax(dim=1)


def information_worth(
    membership: Float[Tensor, "point class"],
    labels: Int64[Tensor, " point"],
    realism: Float[Tensor, " point"] | None = None,
) -> float:
    """Ê = Σ_i γ_i E_i in nats, E_i = −Σ_j p_j^i log p_j^i (000, sections 3.1 and 3.2).

    p_j^i is the part of subset i's weight that the points of true class j have, γ_i the part of
    all weight that lies in subset i; a point weighs ρ(x) μ_i(x) in subset i. 0: each predicted
    class holds one true class; log K at the most. Larger is more informative.

    Args:
        membership: μ, from `binary_membership` or `fractional_membership`.
        labels: the true classes.
        realism: ρ in [0, 1] of each point; 1 for all where None (section 3.1).
    """
    weight = membership.to(torch.float64)
    if realism is not None:
        weight = weight * realism.to(torch.float64)[:, None]
    truth = functional.one_hot(labels, membership.shape[1]).to(torch.float64)
    joint = weight.T @ truth
    within = joint / joint.sum(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    entropy = torch.special.entr(within).sum(dim=1)
    return float(joint.sum(dim=1) / joint.sum() @ entropy)


def normalised_accuracy(
    predicted: Int64[Tensor, " point"], labels: Int64[Tensor, " point"], classes: int
) -> tuple[Float[Tensor, " class"], float]:
    """Return the accuracy within each true class, and their average weighted by the class sizes.

    A row of 000's table 1. A class without a point has NaN, and no weight.
    """
    sizes = torch.bincount(labels, minlength=classes).to(torch.float64)
    right = torch.bincount(labels[predicted == labels], minlength=classes).to(torch.float64)
    return right / sizes, float(right.sum() / sizes.sum())
