"""What must be known before a release: the trained model beside the one that is to be released."""

from dataclasses import dataclass
from functools import partial

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

__all__ = ["Assessment", "assess", "robustness_under_pgd"]


@dataclass(frozen=True, eq=False)
class Assessment:
    """One guarded model, measured.

    Attributes:
        clean: on the test images.
        robust: on test images attacked by PGD; None where no epsilon is set.
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

    @property
    def counterexample_accuracy(self) -> float | None:
        """The accuracy that is left under the semantic attack."""
        found = self.counterexamples
        return None if found is None else float(found.figures()["accuracy_after"])


def assess(
    guarded: GuardedClassifier,
    test: ImageSet,
    counterexamples: Counterexamples | None,
    *,
    corner_cases: CornerCaseSettings,
    settings: EvaluateSettings,
    epsilon: float | None,
    seed: int,
) -> Assessment:
    """Measure a guarded model on test images, which took no part in anything before."""
    model, detector = guarded.model, guarded.detector
    seeds = seed_images(model, test, corner_cases.seeds, seed)
    search = find_corner_cases(model, seeds, corner_cases)
    return Assessment(
        guarded=guarded,
        clean=accuracy(model, test),
        robust=None
        if epsilon is None
        else robustness_under_pgd(model, test, epsilon, settings, seed),
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


def robustness_under_pgd(
    model: nn.Module, test: ImageSet, epsilon: float, settings: EvaluateSettings, seed: int
) -> Accuracy:
    """Measure the accuracy under PGD with a random start, on a random part of the test set."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(test), generator=generator)[: settings.images]
    attack = partial(
        pgd, epsilon=epsilon, step_size=epsilon / 4, steps=settings.steps, generator=generator
    )
    return robust_accuracy(model, Subset(test, chosen), attack)
