"""Semantic counterexamples: sFGSM, si-FGSM and sGD over the parameters of scenes."""

from offline.counterexamples.attack_settings import PRESETS, AttackSettings, preset
from offline.counterexamples.found import (
    Counterexamples,
    load_counterexamples,
    save_counterexamples,
)
from offline.counterexamples.informativeness import (
    binary_membership,
    fractional_membership,
    information_worth,
    normalised_accuracy,
)
from offline.counterexamples.search import find_counterexamples

__all__ = [
    "PRESETS",
    "AttackSettings",
    "Counterexamples",
    "binary_membership",
    "find_counterexamples",
    "fractional_membership",
    "information_worth",
    "load_counterexamples",
    "normalised_accuracy",
    "preset",
    "save_counterexamples",
]
