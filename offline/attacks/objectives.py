"""What an attack raises: one value per image, from its logits and its true label."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from guard.errors import BadInput

__all__ = [
    "PixelObjective",
    "checked_smoothing",
    "cross_entropy",
    "divergence_from",
    "label_smoothed_cross_entropy",
    "lowered_score",
    "margin",
    "smoothed",
]

PixelObjective = Callable[[Tensor, Tensor], Tensor]
"""(logits [batch, class], labels [batch]) to one value per image [batch]."""


def cross_entropy(
    logits: Float[Tensor, "batch class"], labels: Int64[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """−log p_y, the usual objective of the inner maximisation (004, equation 2.5)."""
    return functional.cross_entropy(logits, labels, reduction="none")


def label_smoothed_cross_entropy(
    logits: Float[Tensor, "batch class"], labels: Int64[Tensor, " batch"], smoothing: float
) -> Float[Tensor, " batch"]:
    """LSCE: −Σ_k y_k log p_k with y = 1 − α for the true class, α / (K − 1) for the others.

    004, equations 4.1 and 4.2. It is not torch's `label_smoothing`, which gives every class, the
    true one too, its part α / K. With `smoothing` α = 0 it is the cross entropy.

    Raises:
        BadInput: `smoothing` is not in [0, 1).
    """
    logs = functional.log_softmax(logits, dim=1)
    true = logs.gather(1, labels[:, None]).squeeze(1)
    share = checked_smoothing(smoothing) / (logits.shape[1] - 1)
    return -(1 - smoothing) * true - share * (logs.sum(dim=1) - true)


def smoothed(smoothing: float) -> PixelObjective:
    """Return LSCE with its α fixed: the objective that makes PGD into PGD-LS (004, eq. 4.3)."""
    checked_smoothing(smoothing)
    return lambda logits, labels: label_smoothed_cross_entropy(logits, labels, smoothing)


def divergence_from(clean_logits: Float[Tensor, "batch class"]) -> PixelObjective:
    """KL(p(x) ‖ p(x′)): the objective of PGD-KL, which looks at no label (004, section 4.2).

    Its gradient is zero at x′ = x, so that an attack on it needs a random start.
    """
    clean = functional.log_softmax(clean_logits.detach(), dim=1)

    def divergence(logits: Tensor, labels: Tensor) -> Tensor:
        logs = functional.log_softmax(logits, dim=1)
        return (clean.exp() * (clean - logs)).sum(dim=1)

    return divergence


def margin(
    logits: Float[Tensor, "batch class"], labels: Int64[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """max_{i≠y} z_i − z_y: positive when misclassified. Raised, it is the CW attack in PGD's form.

    000, equation 5 without its cut at 0; 004, section 6.1 (C&W_∞ optimised by PGD).
    """
    true = functional.one_hot(labels, logits.shape[1]).bool()
    others = logits.masked_fill(true, -torch.inf).amax(dim=1)
    return others - logits.gather(1, labels[:, None]).squeeze(1)


def lowered_score(
    logits: Float[Tensor, "batch class"], labels: Int64[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Minus the raw score z_y of the true class, before the softmax (000, Appendix B).

    The score itself is the paper's ℓ_F; a counterexample is found where it falls.
    """
    return -logits.gather(1, labels[:, None]).squeeze(1)


def checked_smoothing(smoothing: float) -> float:
    """Return α when it lies in [0, 1); with α = 1 training breaks (004, section 6.2).

    Raises:
        BadInput: it does not.
    """
    if not 0 <= smoothing < 1:
        raise BadInput(
            f"smoothing is {smoothing:g}; 0 ≤ smoothing < 1 is wanted "
            "(at 1 an attack leads towards the true class, and training on it breaks)"
        )
    return smoothing
