"""Semantic counterexamples: sFGSM, si-FGSM, sGD and sCW over the features of scenes."""

from offline.counterexamples.attack_settings import AttackSettings, CarliniWagnerSettings
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
from offline.counterexamples.presets import PRESETS, preset, with_preset
from offline.counterexamples.search import find_counterexamples

__all__ = [
    "PRESETS",
    "AttackSettings",
    "CarliniWagnerSettings",
    "Counterexamples",
    "binary_membership",
    "find_counterexamples",
    "fractional_membership",
    "information_worth",
    "load_counterexamples",
    "normalised_accuracy",
    "preset",
    "save_counterexamples",
    "with_preset",
]
