"""How accurate a model is: on clean images, on stored counterexamples, and under attack."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from guard.progress import track
from offline.corner_cases.prediction import predict
from offline.datasets import ImageSet, batches
from offline.models import device_of

__all__ = ["Accuracy", "Attack", "accuracy", "robust_accuracy"]

Images = Float[Tensor, "batch channel height width"]
Attack = Callable[[nn.Module, Images, Int64[Tensor, " batch"]], Images]
"""`(model, images, labels) -> images`: an attack of `offline.attacks` with its settings bound."""


@dataclass(frozen=True)
class Accuracy:
    """How often a model is right, and how sure it is.

    Attributes:
        correct, total: images classified correctly, and all.
        value: their ratio.
        mean_confidence: mean softmax probability of the predicted class.
        by_class: the share of each class that is classified correctly; None where it has no image.
        confusion: [true class][predicted class], counts.
    """

    correct: int
    total: int
    value: float
    mean_confidence: float
    by_class: dict[str, float | None]
    confusion: tuple[tuple[int, ...], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as values that JSON knows."""
        return asdict(self)


def accuracy(model: nn.Module, image_set: ImageSet, batch_size: int = 256) -> Accuracy:
    """Measure a model on every image of a set; stored counterexamples are such a set, too."""
    steps = -(-len(image_set) // batch_size)
    pieces = track(batches(image_set, batch_size), "Measuring accuracy", steps)
    return _measure(model, pieces, image_set.classes)


def robust_accuracy(
    model: nn.Module, image_set: ImageSet, attack: Attack, batch_size: int = 64
) -> Accuracy:
    """Measure a model on a set whose images `attack` changes before the model sees them.

    Bind the attack's settings first: `partial(pgd, epsilon=8 / 255, step_size=2 / 255, steps=10)`.
    """
    device = device_of(model)
    steps = -(-len(image_set) // batch_size)
    pieces = (
        (attack(model, images.to(device), labels.to(device)), labels)
        for images, labels in batches(image_set, batch_size)
    )
    return _measure(model, track(pieces, "Attacking", steps), image_set.classes)


def _measure(
    model: nn.Module, pieces: Iterable[tuple[Tensor, Tensor]], classes: tuple[str, ...]
) -> Accuracy:
    count = len(classes)
    confusion = torch.zeros(count * count, dtype=torch.int64)
    confidence = 0.0
    for images, labels in pieces:
        found = predict(model, images, batch_size=len(images))
        confusion += torch.bincount(labels * count + found.labels, minlength=count * count)
        confidence += found.confidences.double().sum().item()
    table = confusion.view(count, count)
    right, total = table.diagonal(), int(table.sum())
    shares = [
        hits / of if of else None
        for hits, of in zip(right.tolist(), table.sum(dim=1).tolist(), strict=True)
    ]
    return Accuracy(
        correct=int(right.sum()),
        total=total,
        value=int(right.sum()) / total,
        mean_confidence=confidence / total,
        by_class=dict(zip(classes, shares, strict=True)),
        confusion=tuple(tuple(row) for row in table.tolist()),
    )
