"""Attacks on pixels: FGSM and PGD, thin settings of the one loop."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from guard.errors import BadInput
from offline.attacks.ascent import Judgement, ascend
from offline.attacks.moves import Move
from offline.attacks.objectives import PixelObjective, cross_entropy

__all__ = ["checked_epsilon", "fgsm", "held_still", "pgd"]

PIXELS = (0.0, 1.0)


def fgsm(
    model: nn.Module,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, " batch"],
    *,
    epsilon: float,
    objective: PixelObjective = cross_entropy,
) -> Float[Tensor, "batch channel height width"]:
    """x′ = x + ε sgn(∇_x L(θ, x, y)), clipped to [0, 1] (004, equation 2.6).

    Raises:
        BadInput: `epsilon` is not in (0, 1].
    """
    return pgd(
        model, images, labels, epsilon=epsilon, step_size=epsilon, steps=1, objective=objective
    )


def pgd(
    model: nn.Module,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, " batch"],
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    objective: PixelObjective = cross_entropy,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "batch channel height width"]:
    """x ← Π_{B_ε(x⁰)}(x + α sgn(∇_x L(θ, x, y))), clipped to [0, 1], `steps` times (004, eq. 2.7).

    PGD-CE with the default objective, PGD-LS with `smoothed(α)`, PGD-KL with
    `divergence_from(model(images))`, CW in PGD's form with `margin`. The model is attacked in eval
    mode, and is in its own mode again afterwards.

    Args:
        model: images to logits [batch, class].
        images: in [0, 1].
        labels: the true classes.
        epsilon: radius of the l∞ ball, in units of [0, 1]: 8/255, not 8.
        step_size: length of one step, in the same units.
        steps: how many steps.
        objective: what is raised.
        generator: where given, a random start in the ball is drawn from it.

    Raises:
        BadInput: `epsilon` is not in (0, 1].
    """
    move = Move(step_size, bound=checked_epsilon(epsilon), box=PIXELS)

    def judge(current: dict[str, Tensor], rows: Tensor) -> Judgement:
        return Judgement(objective(model(current["images"]).float(), labels))

    with held_still(model):
        found = ascend(judge, {"images": images}, {"images": move}, steps, generator=generator)
    return found["images"]


def checked_epsilon(epsilon: float) -> float:
    """Return ε when it lies in (0, 1].

    Raises:
        BadInput: it does not.
    """
    if not 0 < epsilon <= 1:
        hint = f"; {epsilon:g} looks like units of 0 to 255: write {epsilon:g}/255"
        raise BadInput(
            f"epsilon is {epsilon:g}; 0 < epsilon ≤ 1 is wanted, for images in [0, 1]"
            + (hint if epsilon > 1 else "")
        )
    return epsilon


@contextmanager
def held_still(model: nn.Module) -> Iterator[None]:
    """Hold a model in eval mode, its parameters without gradients; then put back what was.

    An attack must not move the running means of batch normalisation, and a backward pass to the
    images alone need not keep what the gradients of the weights would take.
    """
    training = {module: module.training for module in model.modules()}
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    model.eval()
    for weight in learning:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
        for weight in learning:
            weight.requires_grad_(True)
