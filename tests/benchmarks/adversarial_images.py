"""The attacks of Table 3.8, with the parameters of Xu et al. 2018, whose setting the thesis takes.

FGSM, BIM and JSMA are torchattacks'; for Carlini and Wagner's see `carlini_wagner`.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from offline.attacks import held_still
from tests.benchmarks.baselines import reduced_depth
from tests.benchmarks.carlini_wagner import (
    FREEZE,
    SHRINK,
    CarliniWagner,
    Nearest,
    fewest_pixels,
    smallest_cube,
)

with warnings.catch_warnings():  # of a newer requests than it is used to
    warnings.simplefilter("ignore")
    import torchattacks

__all__ = ["Attack", "attacks", "target_classes"]

Target = Literal["untargeted", "next", "ll"]
Images = Float[Tensor, "b c h w"]
Labels = Int64[Tensor, " b"]


class Attack(NamedTuple):
    """One column of Table 3.8.

    Attributes:
        run: (model, images, labels) to adversarial images, where labels are the target classes, or
            the true ones of an untargeted attack.
        budget: what limits it.
    """

    name: str
    target: Target
    run: Callable[[nn.Module, Images, Labels], Images]
    budget: dict[str, Any]

    def __call__(self, model: nn.Module, images: Images, labels: Labels) -> Images:
        """Attack images of these true labels, and round as an image file does."""
        with held_still(model):
            classes = target_classes(model, images, labels, self.target)
            return reduced_depth(self.run(model, images, classes).detach(), bits=8)


def attacks(colour: bool, search: CarliniWagner | None = None) -> list[Attack]:
    """Return the ten columns of Table 3.8, with Xu et al.'s parameters for MNIST or CIFAR-10.

    A `search` of its own takes the place of theirs.
    """
    fgsm = {"eps": 0.0156 if colour else 0.3}
    bim = {"eps": 0.008, "alpha": 0.0012} if colour else {"eps": 0.3, "alpha": 0.06}
    jsma = {"theta": 1.0, "gamma": 0.1}
    search = search or CarliniWagner(confidence=5.0 if colour else 10.0)
    aims: tuple[Target, ...] = ("next", "ll")
    columns = [
        Attack("FGSM", "untargeted", partial(_torchattack, torchattacks.FGSM, fgsm), fgsm),
        Attack("BIM", "untargeted", partial(_torchattack, torchattacks.BIM, bim), bim),
    ]
    in_rounds = {**search._asdict(), "round": search.round()._asdict()}
    for aim in aims:
        nearest = Nearest(search)
        cube, pixels = partial(smallest_cube, nearest), partial(fewest_pixels, nearest)
        columns += [
            Attack("CW∞", aim, cube, {**in_rounds, "shrink": SHRINK}),
            Attack("CW2", aim, nearest, search._asdict()),
            Attack("CW0", aim, pixels, {**in_rounds, "freeze": FREEZE}),
        ]
    targeted = partial(_torchattack, torchattacks.JSMA, jsma, targeted=True)
    return columns + [Attack("JSMA", aim, targeted, jsma) for aim in aims]


@torch.no_grad()
def target_classes(model: nn.Module, images: Images, labels: Labels, target: Target) -> Labels:
    """Return the class after the true one, the least likely one, or the true one itself."""
    logits: Tensor = model(images)
    if target == "next":
        return (labels + 1) % logits.shape[1]
    return logits.argmin(dim=1) if target == "ll" else labels


def _torchattack(
    kind: Callable[..., Any],
    budget: dict[str, float],
    model: nn.Module,
    images: Images,
    labels: Labels,
    targeted: bool = False,
) -> Images:
    attack = kind(model, **budget)
    if targeted:
        attack.set_mode_targeted_by_label(quiet=True)
    found: Tensor = attack(images, labels)
    return found
