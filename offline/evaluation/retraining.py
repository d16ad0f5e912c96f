"""What retraining on counterexamples gained: tables of Train x Test, and transfer to other models.

000, tables 2, 5, 15 and 19 (retraining), 6 and 18 (transfer).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from offline.corner_cases.prediction import predict
from offline.counterexamples import Counterexamples, normalised_accuracy
from offline.datasets import ImageSet, batches

__all__ = [
    "Hunt",
    "NormalisedAccuracy",
    "Table",
    "adaptive_table",
    "least_across",
    "static_table",
    "transfer_table",
]

Hunt = Callable[[nn.Module], Counterexamples]
"""An attack on scenes of its own: the model that it attacks to what it made of the scenes."""


class NormalisedAccuracy(NamedTuple):
    """The accuracy within each class, None where there is no image of it, and over all images."""

    overall: float
    by_class: tuple[float | None, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as values that JSON knows."""
        return {"overall": self.overall, "by_class": list(self.by_class)}


Table = dict[str, dict[str, NormalisedAccuracy]]
"""The row, how a model was trained, to the column, what it is tested on, to its accuracy."""


def static_table(models: Mapping[str, nn.Module], tests: Mapping[str, ImageSet]) -> Table:
    """Test every model on every set, which is the same for all (000, tables 2 and 15).

    Where the sets are counterexamples of the first model, this is what they still cost the others.
    """
    return {
        train: {test: _on(model, image_set) for test, image_set in tests.items()}
        for train, model in models.items()
    }


def adaptive_table(models: Mapping[str, nn.Module], hunts: Mapping[str, Hunt]) -> Table:
    """Attack every model by every attack anew (000, tables 5 and 19).

    A scene that a model gets wrong without any attack counts as wrong.
    """
    return {
        train: {test: _after(hunt(model)) for test, hunt in hunts.items()}
        for train, model in models.items()
    }


def transfer_table(models: Mapping[str, nn.Module], found: Mapping[str, Counterexamples]) -> Table:
    """Test every model on what attacks found on others (000, tables 6 and 18).

    The columns are the names in `found`, such as "vgg16/sGD": every scene as its attack left it.
    """
    return {
        name: {
            source: _judged(predict(model, each.images_after.float() / 255).labels, each.labels)
            for source, each in found.items()
        }
        for name, model in models.items()
    }


def least_across(table: Table, attacks: tuple[str, ...]) -> float:
    """Return the least accuracy of models retrained on one attack, on the others.

    Args:
        table: with a row and a column of each attack.
        attacks: their names, two or more.
    """
    return min(table[train][test].overall for train in attacks for test in attacks if train != test)


def _on(model: nn.Module, image_set: ImageSet) -> NormalisedAccuracy:
    predicted = torch.cat([predict(model, images).labels for images, _ in batches(image_set, 256)])
    return _judged(predicted, image_set.labels)


def _after(found: Counterexamples) -> NormalisedAccuracy:
    fooled = found.already_wrong | found.success
    return _judged(torch.where(fooled, -1, found.labels), found.labels)


def _judged(predicted: Int64[Tensor, " n"], labels: Int64[Tensor, " n"]) -> NormalisedAccuracy:
    classes = int(labels.max()) + 1
    each, overall = normalised_accuracy(predicted, labels, classes)
    return NormalisedAccuracy(overall, tuple(None if v != v else v for v in each.tolist()))
