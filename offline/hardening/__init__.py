"""Training, plain and adversarial: SPAT over Madry, TRADES and MART."""

from offline.hardening.harden import HardenSettings, harden, spat
from offline.hardening.losses import madry_loss, mart_loss, standard_loss, trades_loss
from offline.hardening.mixing import Replaced, replace_share
from offline.hardening.trainer import BatchLoss, TrainingHistory, plain, train
from offline.hardening.training_settings import (
    Augmentation,
    TrainSettings,
    augmented,
    learning_rate_at,
)
from offline.hardening.tuning import Stage, counterexamples_only, perturbed_pixels, tuned

__all__ = [
    "Augmentation",
    "BatchLoss",
    "HardenSettings",
    "Replaced",
    "Stage",
    "TrainSettings",
    "TrainingHistory",
    "augmented",
    "counterexamples_only",
    "harden",
    "learning_rate_at",
    "madry_loss",
    "mart_loss",
    "perturbed_pixels",
    "plain",
    "replace_share",
    "spat",
    "standard_loss",
    "trades_loss",
    "train",
    "tuned",
]
