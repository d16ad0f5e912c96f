"""From a fit set to the reduced features of its correctly classified images, on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from guard.errors import BadInput
from guard.guarded import require_logits
from guard.probes import ENERGY, INPUT, Flatten, Grid, Statistics, UnitLength, watch
from guard.progress import track
from offline.datasets import ImageSet, batches
from offline.fitting.settings import FitSettings

__all__ = ["Features", "collect_features", "reduction_for"]


class Features(NamedTuple):
    """The features of one layer on disk, the rows of one class after those of another.

    Attributes:
        path: a .npy file, float32 [class * room, feature].
        counts: how many rows of each class are filled, int64 [class].
        reduction: what made features of the layer's activations.
    """

    path: Path
    counts: Int64[np.ndarray, " class"]
    reduction: nn.Module

    def of_class(self, label: int) -> Float[np.ndarray, "n feature"]:
        """Return the rows of one class, memory-mapped."""
        table: np.ndarray = np.load(self.path, mmap_mode="r")
        start = label * (len(table) // len(self.counts))
        rows: np.ndarray = table[start : start + self.counts[label]]
        return rows


def collect_features(
    model: nn.Module,
    fit_set: ImageSet,
    layers: Sequence[str],
    settings: FitSettings,
    seed: int,
    folder: Path,
) -> list[Features]:
    """Run the model and write what each probe sees of the images that it classifies correctly.

    Lines 2 to 8 of Algorithm 1: misclassified images are likely outliers and are left out. Images
    come in random order until every class has `settings.max_per_class`; features are written to
    `folder` batch by batch, so that a set larger than memory fits.

    Raises:
        BadInput: the model's output is not [batch, class] with the classes of the set, a layer is
            missing or gives no tensor, or a class has no correctly classified image.
    """
    classes, room = len(fit_set.classes), settings.max_per_class
    room = min(room, int(torch.bincount(fit_set.labels).max()))
    counts = np.zeros(classes, dtype=np.int64)
    reductions: list[nn.Module] = []
    tables: list[np.memmap] = []
    order = torch.Generator().manual_seed(seed)
    steps = -(-len(fit_set) // settings.batch_size)
    stream = batches(fit_set, settings.batch_size, order)
    for images, labels in track(stream, "Collecting activations", steps):
        activations, predicted = activations_of(model, images, layers, classes)
        if not tables:
            reductions = [
                reduction_for(layer, settings, activations[layer], images.shape) for layer in layers
            ]
        rows, kept = _places(labels, predicted, counts, room)
        for at, layer in enumerate(layers):
            features = reductions[at](activations[layer])[kept.to(predicted.device)].cpu().numpy()
            if len(tables) == at:
                tables.append(_table(folder / f"{at}.npy", classes * room, features.shape[1]))
            tables[at][rows] = features
        if (counts == room).all():
            break
    for label in np.flatnonzero(counts < 2).tolist():
        raise BadInput(
            f"fit: of the images of class {fit_set.classes[label]!r}, {counts[label]} are "
            "correctly classified; its one-class SVMs need 2"
        )
    for table in tables:
        table.flush()
    return [
        Features(folder / f"{at}.npy", counts, reduction) for at, reduction in enumerate(reductions)
    ]


def activations_of(
    model: nn.Module, images: Float[Tensor, "b c h w"], layers: Sequence[str], classes: int
) -> tuple[dict[str, Tensor], Int64[Tensor, " b"]]:
    """Return the outputs of the watched layers and the predicted labels, on the model's device."""
    device = next((parameter.device for parameter in model.parameters()), images.device)
    images = images.to(device)
    with torch.no_grad(), watch(model, layers) as activations:
        logits = require_logits(model(images))
    if logits.shape[1] != classes:
        raise BadInput(f"model: gives {logits.shape[1]} logits, the data has {classes} classes")
    for layer, output in activations.items():
        if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != len(images):
            seen = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise BadInput(f"layers: {layer!r} gives {seen}, not a tensor [batch, …]")
    for layer in set(layers) - {INPUT, ENERGY} - set(activations):
        raise BadInput(f"layers: {layer!r} does not run in the model's forward")
    return {INPUT: images, ENERGY: logits, **activations}, logits.argmax(dim=1)


def reduction_for(
    layer: str,
    settings: FitSettings,
    activation: Float[Tensor, "b ..."],
    image_shape: torch.Size,
) -> nn.Module:
    """Build the reduction that the settings name, for activations of a layer like this one."""
    reduction: nn.Module = Flatten()
    if layer == ENERGY:
        return reduction
    if settings.reduction == "grid":
        reduction = Grid(settings.grid)
    elif settings.reduction == "statistics":
        reduction = Statistics(_channel_axis(activation.shape, image_shape))
    hidden_map = layer != INPUT and activation.ndim > 2
    return UnitLength(reduction) if settings.unit_length and hidden_map else reduction


def _channel_axis(shape: torch.Size, image_shape: torch.Size) -> int:
    """Find the channels: last for tokens; for maps, beside the two axes shaped like the image."""
    if len(shape) == 3:
        return 2
    if len(shape) == 4 and not _alike(shape[2:], image_shape) and _alike(shape[1:3], image_shape):
        return 3
    return 1


def _alike(sides: Sequence[int], image_shape: torch.Size) -> bool:
    """Whether a map has the image's aspect, but for the rounding of strides."""
    height, width = image_shape[2:]
    return abs(sides[0] * width - sides[1] * height) < max(height, width)


def _places(
    labels: Int64[Tensor, " b"],
    predicted: Int64[Tensor, " b"],
    counts: Int64[np.ndarray, " class"],
    room: int,
) -> tuple[Int64[np.ndarray, " kept"], Int64[Tensor, " kept"]]:
    """Give each correct image the next free row of its class, and count it in `counts`."""
    correct = torch.nonzero(predicted.cpu() == labels).squeeze(1)
    truth = labels[correct].numpy()
    order = np.argsort(truth, kind="stable")
    first = np.searchsorted(truth[order], truth[order])
    place = np.empty_like(order)
    place[order] = np.arange(len(order)) - first + counts[truth[order]]
    free = place < room
    np.add.at(counts, truth[free], 1)
    return truth[free] * room + place[free], correct[torch.from_numpy(free)]


def _table(path: Path, rows: int, columns: int) -> np.memmap:
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, columns))
