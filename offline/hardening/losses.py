"""Outer losses of training: plain, Madry, TRADES and MART, each a mean over the batch.

x is the clean image, x′ the adversarial one. A loss becomes its SPAT form when x′ comes from PGD-LS
(004, equation 4.3), so nothing here knows of the smoothing.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

__all__ = ["madry_loss", "mart_loss", "standard_loss", "trades_loss"]


def standard_loss(
    clean_logits: Float[Tensor, "batch class"], labels: Int64[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """CE(p(x), y): empirical risk minimisation (004, equation 2.1)."""
    return functional.cross_entropy(clean_logits, labels)


def madry_loss(
    adversarial_logits: Float[Tensor, "batch class"], labels: Int64[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """CE(p(x′), y): adversarial risk minimisation (004, equation 2.4 and section 4.3)."""
    return functional.cross_entropy(adversarial_logits, labels)


def trades_loss(
    clean_logits: Float[Tensor, "batch class"],
    adversarial_logits: Float[Tensor, "batch class"],
    labels: Int64[Tensor, " batch"],
    weight: float,
) -> Float[Tensor, ""]:
    """CE(p(x), y) + λ KL(p(x) ‖ p(x′)), λ = `weight` (004, section 4.3; λ = 6 in section 6.1)."""
    divergence = _divergence(clean_logits, adversarial_logits)
    return functional.cross_entropy(clean_logits, labels) + weight * divergence.mean()


def mart_loss(
    clean_logits: Float[Tensor, "batch class"],
    adversarial_logits: Float[Tensor, "batch class"],
    labels: Int64[Tensor, " batch"],
    weight: float,
) -> Float[Tensor, ""]:
    """BCE(p(x′), y) + λ KL(p(x) ‖ p(x′)) (1 − p_y(x)), λ = `weight` (004, section 4.3; λ = 5).

    BCE(p, y) = −log p_y − log(1 − max_{k≠y} p_k) is MART's boosted cross entropy, not a binary one.
    """
    true = functional.one_hot(labels, clean_logits.shape[1]).bool()
    runner_up = adversarial_logits.masked_fill(true, -torch.inf).argmax(dim=1, keepdim=True)
    rest = adversarial_logits.scatter(1, runner_up, -torch.inf)
    # log(1 − p_k) as a difference of log-sums, which stays finite where p_k rounds to 1.
    kept = rest.logsumexp(dim=1) - adversarial_logits.logsumexp(dim=1)
    boosted = functional.cross_entropy(adversarial_logits, labels, reduction="none") - kept
    missing = 1 - clean_logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1)
    return (boosted + weight * _divergence(clean_logits, adversarial_logits) * missing).mean()


def _divergence(
    clean_logits: Float[Tensor, "batch class"], adversarial_logits: Float[Tensor, "batch class"]
) -> Float[Tensor, " batch"]:
    clean = functional.log_softmax(clean_logits, dim=1)
    adversarial = functional.log_softmax(adversarial_logits, dim=1)
    return (clean.exp() * (clean - adversarial)).sum(dim=1)
