"""Semantic counterexamples: sFGSM, si-FGSM, sGD and sCW over the features of scenes, and sampling.

`realism` is imported by its own name: torchmetrics and its networks take seconds to load.
"""

from offline.counterexamples.attack_settings import AttackSettings, CarliniWagnerSettings
from offline.counterexamples.found import (
    Counterexamples,
    load_counterexamples,
    save_counterexamples,
)
from offline.counterexamples.measures.informativeness import (
    binary_membership,
    fractional_membership,
    information_worth,
    normalised_accuracy,
)
from offline.counterexamples.presets import PRESETS, preset, with_preset
from offline.counterexamples.sampling.equal_renders import EqualRenders, compare_at_equal_renders
from offline.counterexamples.sampling.sampling import sample_counterexamples
from offline.counterexamples.sampling.sampling_settings import SamplingSettings
from offline.counterexamples.search import find_counterexamples
from offline.counterexamples.shards.sample import Sample
from offline.counterexamples.shards.search_settings import SearchSettings
from offline.counterexamples.shards.shards import Subjects, write_shards
from offline.counterexamples.shards.stored import load_shards, read_shards

__all__ = [
    "PRESETS",
    "AttackSettings",
    "CarliniWagnerSettings",
    "Counterexamples",
    "EqualRenders",
    "Sample",
    "SamplingSettings",
    "SearchSettings",
    "Subjects",
    "binary_membership",
    "compare_at_equal_renders",
    "find_counterexamples",
    "fractional_membership",
    "information_worth",
    "load_counterexamples",
    "load_shards",
    "normalised_accuracy",
    "preset",
    "read_shards",
    "sample_counterexamples",
    "save_counterexamples",
    "with_preset",
    "write_shards",
]
