"""Attacks that know the detector: the model is fooled, and the detector is to call it valid.

A defence is only as good as the attack that knows of it (Carlini and Wagner 2017, "Adversarial
examples are not easily detected"; Tramèr et al. 2020, "On adaptive attacks to adversarial example
defenses"). Here the joint discrepancy itself is lowered while the model is fooled.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from guard.deep_validation import DeepValidation
from guard.errors import BadInput
from guard.guarded import GuardedClassifier
from guard.probes import ENERGY, INPUT, watch
from guard.progress import track
from guard.validators import DistanceValidator
from offline.attacks.ascent import Judge, Judgement, ascend
from offline.attacks.gradient import PIXELS, checked_epsilon, held_still
from offline.attacks.moves import Move
from offline.attacks.objectives import margin

__all__ = ["Evasion", "evading", "pgd_against_guard"]

LIGHTEST, HEAVIEST = 1e-3, 1e3
"""Between these the weight of the joint discrepancy is searched; the first try is 1."""

Visit = Callable[[Tensor, Tensor, Tensor, Tensor], None]
"""(rows, images, leads, joint discrepancies) of the points that an attack comes by."""


class Evasion(NamedTuple):
    """What an attack on a guarded classifier found for each image.

    Attributes:
        images: the misclassified image of the lowest joint discrepancy; the clean one if none was.
        score: its joint discrepancy; infinite if none was misclassified. The detector is evaded
            where that is at most its threshold, whichever is in force.
        fooled: whether any was misclassified.
    """

    images: Float[Tensor, "batch channel height width"]
    score: Float[Tensor, " batch"]
    fooled: Bool[Tensor, " batch"]


def pgd_against_guard(
    guarded: GuardedClassifier,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, " batch"],
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    generator: torch.Generator,
    confidence: float = 1.0,
    searches: int = 5,
    restarts: int = 3,
) -> Evasion:
    """Look in the l∞ ball for misclassified images of the lowest joint discrepancy.

    Each restart leads every image to another wrong class, the likeliest first, from random starts.
    PGD raises the objective of `evading`, whose weight is searched for each image by bisection of
    its logarithm, as Carlini and Wagner search their constant: upwards where the model was fooled,
    so that the detector counts for more, downwards where not. Every point passed counts, not only
    the last of a run.

    Args:
        guarded: the model, and the detector that is to be evaded.
        images: in [0, 1].
        labels: the true classes.
        epsilon: radius of the ball, in units of [0, 1].
        step_size: length of one step, in the same units.
        steps: of one run of PGD; there are `restarts` * `searches` runs.
        generator: draws the starts.
        confidence: the lead in logits from which on only the discrepancy counts.
        searches: how many weights are tried.
        restarts: how many wrong classes are tried.

    Raises:
        BadInput: `epsilon` is not in (0, 1], or there are fewer wrong classes than `restarts`.
    """
    move = {"images": Move(step_size, bound=checked_epsilon(epsilon), box=PIXELS)}
    rows = torch.arange(len(images), device=images.device)
    best = _Best(images)
    with held_still(guarded):
        ranked = _wrong_classes(guarded, images, labels, restarts)
        for targets in track(ranked, "Evading the detector", restarts):
            low, high = (torch.full_like(best.score, edge) for edge in (LIGHTEST, HEAVIEST))
            for _ in range(searches):
                weights = (low * high).sqrt()
                best.hit = torch.zeros_like(best.hit)
                judge = evading(guarded, targets, weights, confidence, best.visit)
                last = ascend(judge, {"images": images}, move, steps, generator=generator)
                with torch.no_grad():
                    judge(last, rows)
                low = torch.where(best.hit, weights, low)
                high = torch.where(best.hit, high, weights)
    return Evasion(best.images, best.score, best.score.isfinite())


def evading(
    guarded: GuardedClassifier,
    targets: Int64[Tensor, " batch"],
    weights: Float[Tensor, " batch"],
    confidence: float,
    visit: Visit | None = None,
) -> Judge:
    """Return what an attack raises: min(z_t − max_{i≠t} z_i, κ) − λ D_t(x).

    z are the logits, t the wrong class that an image is led to, κ the confidence, λ the image's
    weight, D_t the joint discrepancy under class t, whatever the model still predicts: under the
    predicted class it would hold the image back.

    Where the detector sums distances, as the thesis does, the Gaussian kernel's gradient is lost in
    rounding far from the training images of t, and the detector would look stronger than it is. So
    D_t takes, for the distance ρ − s of an SVM of similarity s, −ρ log(s / ρ): an upper bound of
    it, which touches it in value and slope on the hyperplane, and whose gradient never fades.

    Args:
        guarded: the model and its detector.
        targets: t of each image.
        weights: λ of each image.
        confidence: κ.
        visit: is told of every point judged, with the lead z_t − max_{i≠t} z_i and the true joint
            discrepancy under t, which is the detector's own where the lead is positive.
    """
    detector = guarded.detector

    def judge(current: dict[str, Tensor], rows: Tensor) -> Judgement:
        images, classes = current["images"], targets[rows]
        with watch(guarded.model, detector.layers) as activations:
            logits = guarded.model(images)
        seen = {INPUT: images, ENERGY: logits, **activations}
        lead = -margin(logits, classes)
        if visit is not None:
            with torch.no_grad():
                visit(rows, images.detach(), lead.detach(), detector(seen, classes).score)
        bound = _upper_bound(detector, seen, classes)
        return Judgement(lead.clamp(max=confidence) - weights[rows] * bound)

    return judge


class _Best:
    """Of every point that an attack comes by, the misclassified one of the lowest discrepancy."""

    def __init__(self, images: Tensor) -> None:
        self.images = images.clone()
        self.score = torch.full_like(images[:, 0, 0, 0], torch.inf)
        self.hit = torch.zeros_like(self.score, dtype=torch.bool)

    def visit(self, rows: Tensor, images: Tensor, lead: Tensor, score: Tensor) -> None:
        self.hit[rows] |= lead > 0
        better = (lead > 0) & (score < self.score[rows])
        self.images[rows[better]], self.score[rows[better]] = images[better], score[better]


def _upper_bound(
    detector: DeepValidation, seen: Mapping[str, Tensor], classes: Tensor
) -> Float[Tensor, " batch"]:
    single = []
    for validator in detector.validators:
        activation = seen[str(validator.layer)]
        if isinstance(validator, DistanceValidator):
            log_ratio = validator.svms.log_ratio(validator.features(activation), classes)
            single.append(-validator.svms.offsets[classes] * log_ratio)
        else:
            single.append(validator(activation, classes))
    return detector.joint(torch.stack(single, dim=1), classes)


@torch.no_grad()
def _wrong_classes(
    guarded: GuardedClassifier, images: Tensor, labels: Tensor, count: int
) -> tuple[Tensor, ...]:
    """Return the likeliest wrong class of each image, then the second likeliest, and so on."""
    logits: Tensor = guarded.model(images)
    wrong = logits.shape[1] - 1
    if not 0 < count <= wrong:
        raise BadInput(f"restarts is {count}; 1 to {wrong}, the wrong classes, are wanted")
    ranked = logits.scatter(1, labels[:, None], -torch.inf).topk(count, dim=1).indices
    return ranked.unbind(dim=1)
