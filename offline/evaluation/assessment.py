"""What must be known before a release: the trained model beside the one that is released."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from guard.guarded import GuardedClassifier
from offline.attacks import pgd
from offline.corner_cases import (
    CornerCaseSearch,
    CornerCaseSettings,
    Seeds,
    find_corner_cases,
    seed_images,
)
from offline.counterexamples import Counterexamples
from offline.datasets import ImageSet, Subset
from offline.evaluation.detection import Detection, evaluate_detection
from offline.evaluation.robustness import Accuracy, accuracy, robust_accuracy
from offline.evaluation.settings import EvaluateSettings

__all__ = ["Assessment", "Protocol", "assess"]


class Protocol(NamedTuple):
    """How a model is assessed: the same for the trained and the released one.

    Attributes:
        epsilon: radius of PGD's l∞ ball; None leaves robust accuracy out.
    """

    corner_cases: CornerCaseSettings
    evaluate: EvaluateSettings
    epsilon: float | None
    seed: int


@dataclass(frozen=True, eq=False)
class Assessment:
    """One guarded model, measured.

    Attributes:
        clean: on the test images.
        robust: on test images attacked by PGD; None where that was left out.
        counterexamples: the semantic attack on this very model; None without one.
        seeds, corner_cases: the natural corner cases of this model.
        detection: how its validators tell them from clean images.
    """

    guarded: GuardedClassifier
    clean: Accuracy
    robust: Accuracy | None
    counterexamples: Counterexamples | None
    seeds: Seeds
    corner_cases: CornerCaseSearch
    detection: Detection


def assess(
    guarded: GuardedClassifier,
    test: ImageSet,
    counterexamples: Counterexamples | None,
    protocol: Protocol,
) -> Assessment:
    """Measure a guarded model on test images, which took no part in anything before."""
    model, detector = guarded.model, guarded.detector
    seeds = seed_images(model, test, protocol.corner_cases.seeds, protocol.seed)
    search = find_corner_cases(model, seeds, protocol.corner_cases)
    return Assessment(
        guarded=guarded,
        clean=accuracy(model, test),
        robust=_under_pgd(model, test, protocol),
        counterexamples=counterexamples,
        seeds=seeds,
        corner_cases=search,
        detection=evaluate_detection(
            guarded,
            test,
            search.kept,
            layers=detector.layers,
            false_alarm_rate=detector.false_alarm_rate,
            calibration_size=len(detector.calibration),
        ),
    )


def _under_pgd(model: nn.Module, test: ImageSet, protocol: Protocol) -> Accuracy | None:
    """Measure the accuracy under PGD with a random start, on a random part of the test set."""
    if protocol.epsilon is None:
        return None
    generator = torch.Generator().manual_seed(protocol.seed)
    chosen = torch.randperm(len(test), generator=generator)[: protocol.evaluate.images]
    attack = partial(
        pgd,
        epsilon=protocol.epsilon,
        step_size=protocol.epsilon / 4,
        steps=protocol.evaluate.steps,
        generator=generator,
    )
    return robust_accuracy(model, Subset(test, chosen), attack)
