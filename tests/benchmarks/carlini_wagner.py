"""Carlini and Wagner 2017: CW2 as foolbox has it, and CW∞ and CW0 built on it.

No library on the index has a targeted CW∞ or a CW0 that works: that of the Adversarial Robustness
Toolbox 1.20 takes every image that is not yet of the target class for a success of CW∞, and lets
CW0 give up as many pixels as an image has channels. Here they are what the paper calls them
(sections VI-B and VI-C), CW2 in a loop: after each success with less room, fewer pixels (CW0) or a
smaller cube (CW∞, where the paper penalises what leaves it).
"""

import warnings
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from offline.attacks import margin

with warnings.catch_warnings():  # of a newer scipy than it is used to
    warnings.simplefilter("ignore")
    import foolbox

__all__ = [
    "FREEZE",
    "SHRINK",
    "Boxed",
    "CarliniWagner",
    "Nearest",
    "fewest_pixels",
    "smallest_cube",
]

Images = Float[Tensor, "b c h w"]
Labels = Int64[Tensor, " b"]
SHRINK, FREEZE = 0.9, 0.25
"""CW∞'s next cube, by the last success; the share of pixels that CW0 freezes after one."""


class CarliniWagner(NamedTuple):
    """How CW2 searches: foolbox's arguments, with fewer steps than its defaults, but longer."""

    confidence: float
    steps: int = 300
    stepsize: float = 0.1
    initial_const: float = 1.0
    binary_search_steps: int = 5

    def round(self) -> "CarliniWagner":
        """Return how a round of CW∞ or CW0 goes: the target counts, the l2 distance no more."""
        return self._replace(steps=100, initial_const=1000.0, binary_search_steps=1)


class Nearest:
    """CW2: the nearest image found; the clean one where the target was not reached.

    What was found last is kept, because CW∞ and CW0 begin with it.
    """

    def __init__(self, search: CarliniWagner) -> None:
        self.search, self.last = search, None

    def __call__(self, model: nn.Module, images: Images, targets: Labels) -> Images:
        asked = (model, images, targets)
        if self.last is None or not all(map(_same, self.last[0], asked)):
            low, high = torch.zeros_like(images), torch.ones_like(images)
            found, reached = _within(self.search, model, images, targets, low, high)
            self.last = (asked, torch.where(_wide(reached), found, images))
        return self.last[1].clone()


def smallest_cube(nearest: Nearest, model: nn.Module, images: Images, targets: Labels) -> Images:
    """CW∞: from CW2's image, shrink the cube for as long as the target is reached in it."""
    best = nearest(model, images, targets)
    rows = torch.nonzero((best != images).flatten(1).any(dim=1)).flatten()
    while len(rows):
        clean, start = images[rows], best[rows]
        radius = _wide(SHRINK * (start - clean).abs().flatten(1).amax(dim=1))
        low, high = (clean - radius).clamp_min(0), (clean + radius).clamp_max(1)
        found, reached = _within(nearest.search.round(), model, start, targets[rows], low, high)
        rows = rows[reached]
        best[rows] = found[reached]
    return best


def fewest_pixels(nearest: Nearest, model: nn.Module, images: Images, targets: Labels) -> Images:
    """CW0: from CW2's image, freeze the pixels of least effect for as long as the rest suffice.

    The effect is |gradient · change|, the gradient that of the lead at the image found.
    """
    best = nearest(model, images, targets)
    rows = torch.nonzero((best != images).flatten(1).any(dim=1)).flatten()
    while len(rows):
        clean, start = images[rows], best[rows]
        free = _without_least(_effect(model, clean, start, targets[rows]))
        low, high = torch.where(free, 0.0, clean), torch.where(free, 1.0, clean)
        found, reached = _within(nearest.search.round(), model, start, targets[rows], low, high)
        rows = rows[reached]
        best[rows] = found[reached]
    return best


class Boxed(nn.Module):
    """A model on the unit cube, mapped to the box from `low` to `high` of each image.

    An attack on it that keeps to [0, 1] keeps to the box; what a pixel with no room is, is moot.
    """

    def __init__(self, model: nn.Module, low: Images, high: Images) -> None:
        super().__init__()
        self.model, self.low, self.high = model, low, high

    def forward(self, unit: Images) -> Float[Tensor, "b class"]:
        logits: Tensor = self.model(self.image(unit))
        return logits

    def image(self, unit: Images) -> Images:
        """Map from the unit cube."""
        return self.low + unit * (self.high - self.low)

    def unit(self, images: Images) -> Images:
        """Map to the unit cube."""
        room = self.high - self.low
        return torch.where(room > 0, (images - self.low) / room, 0.0).clamp(0, 1)


class _Reached(NamedTuple):
    images: Images
    reached: Bool[Tensor, " b"]


def _within(
    search: CarliniWagner,
    model: nn.Module,
    start: Images,
    targets: Labels,
    low: Images,
    high: Images,
) -> _Reached:
    """Run CW2 in a box, and say where the target leads by the confidence."""
    boxed = Boxed(model, low, high).eval()
    attack = foolbox.attacks.L2CarliniWagnerAttack(**search._asdict())
    aim = foolbox.criteria.TargetedMisclassification(targets)
    attacked = foolbox.PyTorchModel(boxed, bounds=(0, 1), device=start.device)
    found, _, _ = attack(attacked, boxed.unit(start), aim, epsilons=None)
    with torch.no_grad():
        lead = -margin(boxed(found), targets)
    return _Reached(boxed.image(found), lead > search.confidence - 0.01)


def _effect(model: nn.Module, clean: Images, found: Images, targets: Labels) -> Images:
    at = found.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(margin(model(at), targets).sum(), at)
    return (gradient * (found - clean)).abs()


def _without_least(effect: Images) -> Bool[Tensor, "b c h w"]:
    """Say which pixels stay free: those of some effect, less the share of the least, at least one.

    A pixel once frozen has not changed, hence no effect ever after.
    """
    moved = effect > 0
    ranks = torch.where(moved, effect, torch.inf).flatten(1).argsort(dim=1).argsort(dim=1)
    frozen = (moved.flatten(1).sum(dim=1) * FREEZE).ceil()
    return moved & (ranks >= frozen[:, None]).view_as(moved)


def _same(one: Any, other: Any) -> bool:
    tensors = isinstance(one, Tensor)
    return torch.equal(one, other) if tensors else one is other


def _wide(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
