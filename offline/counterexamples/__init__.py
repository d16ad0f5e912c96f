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
from offline.counterexamples.presets import PRESETS, preset
from offline.counterexamples.sample import Sample
from offline.counterexamples.search import find_counterexamples
from offline.counterexamples.search_settings import SearchSettings
from offline.counterexamples.shards import Subjects, write_shards
from offline.counterexamples.stored import load_shards, read_shards

__all__ = [
    "PRESETS",
    "AttackSettings",
    "CarliniWagnerSettings",
    "Counterexamples",
    "Sample",
    "SearchSettings",
    "Subjects",
    "binary_membership",
    "find_counterexamples",
    "fractional_membership",
    "information_worth",
    "load_counterexamples",
    "load_shards",
    "normalised_accuracy",
    "preset",
    "read_shards",
    "save_counterexamples",
    "write_shards",
]
