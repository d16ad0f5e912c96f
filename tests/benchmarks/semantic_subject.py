"""The classifier that semantic attacks are measured on, its images, and all settings."""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from offline.counterexamples import AttackSettings, preset
from offline.evaluation.robustness import accuracy
from offline.hardening import Augmentation, TrainSettings
from tests.benchmarks.hunts import trained
from tests.benchmarks.scene_images import SceneImages, Source, render_images

__all__ = ["ATTACKS", "FULL", "QUICK", "SEED", "Sizes", "Subject", "open_subject"]

ATTACKS = ("si-FGSM", "sGD", "sCW")
SEED = 0
TRAIN_SEED, VALIDATION_SEED, TEST_SEED = 1, 2, 3
AUGMENTATION = Augmentation(shift=6, flip=True)


class Sizes(NamedTuple):
    """How much of everything: images and their size, epochs.

    The seeds' retraining takes `retrain_epochs`; with `rounds` above 1 there is more beyond them,
    of `round_epochs` each.
    """

    size: int
    train: int
    judged: int
    adaptive: int
    epochs: int
    rounds: int
    retrain_epochs: int
    round_epochs: int
    tune_epochs: int
    batch: int


FULL = Sizes(128, 4000, 480, 240, 10, 1, 20, 4, 4, 64)
QUICK = Sizes(32, 96, 48, 24, 1, 2, 1, 1, 1, 16)


class Subject(NamedTuple):
    """A model as it was trained on benign images, and the images.

    Attributes:
        judged: the images that judge: `test`, or `validation` where settings are chosen.
        model: in eval mode.
        preset: which of the seeds' hyperparameters.
    """

    train: SceneImages
    judged: SceneImages
    model: nn.Module
    preset: str
    judge: str
    sizes: Sizes

    def attack(self, name: str) -> AttackSettings:
        """Return the seeds' settings of an attack."""
        return preset(f"{self.preset}/{name}")

    @property
    def rows(self) -> Tensor:
        """The scenes that judge."""
        return torch.arange(len(self.judged))

    def described(self) -> dict[str, Any]:
        """Return what was trained on what, and the settings of the attacks."""
        return {
            "source": self.train.source.name,
            "classes": list(self.train.classes),
            "preset": self.preset,
            "judged_on": self.judge,
            "sizes": self.sizes._asdict(),
            "training": base_training(self.sizes).model_dump(mode="json"),
            "retraining": retraining(self.sizes).model_dump(mode="json"),
            "settings": {name: self.attack(name).model_dump(mode="json") for name in ATTACKS},
            "accuracy_train": accuracy(self.model, self.train).value,
        }


def open_subject(
    source: Source, preset: str, judge: Literal["test", "validation"], sizes: Sizes
) -> Subject:
    """Render the images and train the model, where they are not kept already."""
    train = render_images(source, sizes.train, sizes.size, TRAIN_SEED)
    seed = TEST_SEED if judge == "test" else VALIDATION_SEED
    judged = render_images(source, sizes.judged, sizes.size, seed)
    torch.manual_seed(SEED)  # the factory's own initial weights
    model = trained(resnet18(num_classes=len(source.classes)), train, base_training(sizes), SEED)
    return Subject(train, judged, model, preset, judge, sizes)


def base_training(sizes: Sizes) -> TrainSettings:
    """Return how models are trained on benign images."""
    return TrainSettings(
        epochs=sizes.epochs,
        batch_size=sizes.batch,
        learning_rate=0.05,
        precision="bfloat16",
        augmentation=AUGMENTATION,
    )


def retraining(sizes: Sizes, epochs: int | None = None) -> TrainSettings:
    """Return how a trained model is trained further, by default for as long as the seeds do."""
    epochs = sizes.retrain_epochs if epochs is None else epochs
    return base_training(sizes).model_copy(update={"epochs": epochs, "learning_rate": 0.02})
