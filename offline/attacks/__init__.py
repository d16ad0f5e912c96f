"""Gradient attacks: one loop, and the settings of it that the papers name."""

from offline.attacks.ascent import Feasible, Judge, Judgement, ascend
from offline.attacks.evasion import Evasion, evading, pgd_against_guard
from offline.attacks.gradient import checked_epsilon, fgsm, held_still, pgd
from offline.attacks.moves import AdamMove, Bound, Move, Stepper, raw, sign, unit
from offline.attacks.objectives import (
    PixelObjective,
    checked_smoothing,
    cross_entropy,
    divergence_from,
    label_smoothed_cross_entropy,
    lowered_score,
    margin,
    smoothed,
)

__all__ = [
    "AdamMove",
    "Bound",
    "Evasion",
    "Feasible",
    "Judge",
    "Judgement",
    "Move",
    "PixelObjective",
    "Stepper",
    "ascend",
    "checked_epsilon",
    "checked_smoothing",
    "cross_entropy",
    "divergence_from",
    "evading",
    "fgsm",
    "held_still",
    "label_smoothed_cross_entropy",
    "lowered_score",
    "margin",
    "pgd",
    "pgd_against_guard",
    "raw",
    "sign",
    "smoothed",
    "unit",
]
