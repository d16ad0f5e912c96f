"""The attacks of Table 3.8, with the parameters of Xu et al. 2018, whose setting the thesis takes.

FGSM, BIM and JSMA are torchattacks'; for Carlini and Wagner's see `carlini_wagner`.
"""

import warnings
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from offline.attacks import held_still
from offline.corner_cases import Seeds
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

__all__ = ["Attack", "Attacked", "attacked", "attacks", "target_classes"]

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


class Attacked(NamedTuple):
    """The images of one attack.

    Attributes:
        wrong: which of them the model gets wrong.
        figures: how often that is, how often they are of the target class, the mean norms of the
            change where they are wrong (l0 as a share of the pixels), and what the attack may do.
    """

    images: Float[Tensor, "n c h w"]
    wrong: Bool[Tensor, " n"]
    figures: dict[str, Any]


def attacks(colour: bool, search: CarliniWagner | None = None) -> list[Attack]:
    """Return the ten columns of Table 3.8, with Xu et al.'s parameters for MNIST or CIFAR-10.

    A `search` of its own takes the place of theirs.
    """
    fgsm = {"eps": 0.0156 if colour else 0.3}
    bim = {"eps": 0.008, "alpha": 0.0012} if colour else {"eps": 0.3, "alpha": 0.06}
    bim |= {"steps": 10}
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


def attacked(model: nn.Module, attack: Attack, seeds: Seeds) -> Attacked:
    """Attack the seed images, and measure what became of them."""
    start = perf_counter()
    images = attack(model, seeds.images, seeds.labels)
    seconds = perf_counter() - start
    with torch.no_grad():
        predicted = model(images).argmax(dim=1)
    targets = target_classes(model, seeds.images, seeds.labels, attack.target)
    wrong = predicted != seeds.labels
    change = (images - seeds.images).abs().flatten(1)[wrong]
    # Half a grey level: what an 8-bit image cannot hold has not changed.
    distortion = {
        "l0": (change > 0.5 / 255).float().mean(dim=1),
        "l2": change.norm(dim=1),
        "linf": change.amax(dim=1) if len(change) else change,
    }
    means = {norm: value.mean().item() for norm, value in distortion.items() if len(change)}
    reached = (predicted == targets).float().mean().item()
    return Attacked(
        images,
        wrong,
        {
            "budget": attack.budget,
            "success_rate": wrong.float().mean().item(),
            "target_rate": None if attack.target == "untargeted" else reached,
            "distortion": means,
            "seconds": round(seconds),
        },
    )


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
