"""The threshold at a named false-alarm rate, by split conformal calibration."""

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from guard.deep_validation import DeepValidation, StandardisedSum, Sum
from guard.errors import BadInput
from guard.probes import ENERGY
from guard.progress import track
from offline.datasets import ImageSet, batches
from offline.fitting.features import activations_of
from offline.fitting.settings import FitSettings

__all__ = ["calibrate", "calibrate_on", "conformal_threshold"]

STANDARDISING_SHARE = 3
"""One image in three sets the standardised joint; the rest set the threshold."""

FEWEST_PER_CLASS = 20

STANDARDISED_BY = (0.5, 0.99)

LEAST_SPREAD = 0.05
"""Less than that, in nats, no data set's clean images were seen to spread. Fewer images than
features do, all equally far from each other, and what then moves a discrepancy is rounding."""


def calibrate(
    model: nn.Module,
    detector: DeepValidation,
    calibration_set: ImageSet,
    settings: FitSettings,
    seed: int,
) -> None:
    """Set the detector's joint, its clean scores and its threshold from held-out clean images.

    See `calibrate_on`. The detector can be calibrated again, on new clean data, without fitting
    again.

    Raises:
        BadInput: there are too few images for the false-alarm rate, of a class or in all.
    """
    discrepancy, label = _discrepancies(model, detector, calibration_set, settings)
    calibrate_on(detector, discrepancy, label, calibration_set.classes, settings, seed)


def calibrate_on(
    detector: DeepValidation,
    discrepancy: Float[Tensor, "n layer"],
    label: Int64[Tensor, " n"],
    classes: Sequence[str],
    settings: FitSettings,
    seed: int,
) -> None:
    """Set the same from the discrepancies and predicted labels of clean images, in a fixed order.

    All images count, whatever the model says of them. A standardised joint is set on a third of
    them, drawn by `seed`, and the threshold on the rest, because scores that had a part in setting
    their own scale are not exchangeable with new ones. See `conformal_threshold` for what is
    guaranteed. With `thresholds: per_class` that holds within each predicted class c (Mondrian
    conformal prediction, Vovk 2012): a clean image that the model calls c scores above c's
    threshold with probability at most the rate, be c common or rare, easy or hard; it takes enough
    calibration images of every predicted class.

    Raises:
        BadInput: there are too few images for the false-alarm rate, of a class or in all.
    """
    order = torch.randperm(len(label), generator=torch.Generator().manual_seed(seed))
    detector.joining = Sum()
    if settings.joint == "standardised":
        held = len(label) // STANDARDISING_SHARE
        first, order = order[:held], order[held:]
        shift, scale = _standardisation(discrepancy[first], label[first], len(classes))
        detector.joining = StandardisedSum(shift, scale, _weights(detector.layers).to(scale))
    detector.offset = torch.zeros_like(detector.offset)
    detector.group = torch.zeros_like(detector.group)
    label, scores = label[order], detector.joint(discrepancy[order], label[order])
    if settings.thresholds == "per_class":
        detector.offset = _class_thresholds(scores, label, classes, settings)
        detector.group = torch.arange(len(detector.group), device=scores.device)
        detector.threshold = torch.zeros_like(detector.threshold)
        scores = scores - detector.offset[label]
    else:
        detector.threshold = conformal_threshold(scores, settings.false_alarm_rate)
    detector.calibration, order = scores.sort()
    detector.calibration_group = detector.group[label[order]]
    detector.false_alarm_rate = settings.false_alarm_rate


def conformal_threshold(
    scores: Float[Tensor, " n"], rate: float, whose: str = ""
) -> Float[Tensor, "1"]:
    """Return the ⌈(n + 1)(1 - rate)⌉-th smallest score.

    A new clean image exchangeable with the n calibration images then scores above it with
    probability at most `rate`, whatever the distribution, and (without ties) at least
    `rate` - 1 / (n + 1). The probability is over the draw of the calibration images too: for one
    given calibration set, the realised rate spreads around it as Beta(n + 1 - k, k), k the rank,
    with a deviation of about √(rate (1 - rate) / n) (Vovk 2012; Angelopoulos and Bates 2021).
    `whose` says in the error which images are meant.

    Raises:
        BadInput: n < 1 / rate - 1, where no score is large enough, or a score is not finite.
    """
    # A fraction, because 100 * (1 - 0.01) in floating point may come out above 99.
    rank = math.ceil((len(scores) + 1) * (1 - Fraction(str(rate))))
    if rank > len(scores):
        least = math.ceil(1 / Fraction(str(rate))) - 1
        raise BadInput(
            f"fit.false_alarm_rate: {rate} needs {least} calibration images or more, "
            f"there are {len(scores)}{whose}"
        )
    if not torch.isfinite(scores).all():
        raise BadInput("calibration: a score is not finite; the model gives NaN or infinity")
    return scores.sort().values[rank - 1 : rank].clone()


def _class_thresholds(
    scores: Float[Tensor, " n"],
    label: Int64[Tensor, " n"],
    classes: Sequence[str],
    settings: FitSettings,
) -> Float[Tensor, " class"]:
    return torch.cat(
        [
            conformal_threshold(
                scores[label == at], settings.false_alarm_rate, f" that the model calls {name!r}"
            )
            for at, name in enumerate(classes)
        ]
    )


def _discrepancies(
    model: nn.Module, detector: DeepValidation, image_set: ImageSet, settings: FitSettings
) -> tuple[Float[Tensor, "n layer"], Int64[Tensor, " n"]]:
    found, labels = [], []
    steps = -(-len(image_set) // settings.batch_size)
    stream = batches(image_set, settings.batch_size)
    with torch.no_grad():
        for images, _ in track(stream, "Calibrating", steps):
            classes = len(image_set.classes)
            activations, label = activations_of(model, images, detector.layers, classes)
            found.append(detector(activations, label).discrepancy)
            labels.append(label)
    return torch.cat(found), torch.cat(labels)


def _weights(layers: Sequence[str]) -> Float[Tensor, " layer"]:
    """Let the energy count √n times among n other layers, whose sum would else outvote it.

    The sum of n independent standardised discrepancies spreads by √n: the energy is given as much
    say as they have together.
    """
    others = max(1, len([layer for layer in layers if layer != ENERGY]))
    return torch.tensor([math.sqrt(others) if layer == ENERGY else 1.0 for layer in layers])


def _standardisation(
    discrepancy: Float[Tensor, "n layer"], label: Int64[Tensor, " n"], classes: int
) -> tuple[Float[Tensor, "layer class"], Float[Tensor, "layer class"]]:
    """Return, per layer and predicted class, the median and 1 / how far the 99th percentile lies.

    What is to be told from corner cases is the upper tail of clean images, whose length the
    deviation does not know. A class that is predicted fewer than 20 times takes those of all
    classes together.
    """
    if len(label) < 2:
        raise BadInput(f"calibration: {len(label)} images cannot standardise the joint")
    levels = torch.tensor(STANDARDISED_BY, dtype=discrepancy.dtype, device=discrepancy.device)
    of_all = discrepancy.quantile(levels, dim=0)
    found = of_all.unsqueeze(2).repeat(1, 1, classes)
    counts = torch.bincount(label, minlength=classes)
    for index in torch.nonzero(counts >= FEWEST_PER_CLASS).flatten().tolist():
        found[:, :, index] = discrepancy[label == index].quantile(levels, dim=0)
    median, high = found
    return median.clone(), 1 / (high - median).clamp(min=LEAST_SPREAD)
