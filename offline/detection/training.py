"""Training of detectors: the trainer of classifiers, given a detector's loss and mirrored boxes."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from guard.errors import BadInput
from offline.datasets import ImageSet
from offline.detection.detection_set import DetectionImages
from offline.detection.detector import Detector, Truth
from offline.hardening.trainer import TrainingHistory, train
from offline.hardening.training_settings import Augmentation, TrainSettings

__all__ = ["mirrored", "train_detector"]


def train_detector(
    detector: Detector,
    images: DetectionImages,
    settings: TrainSettings,
    seed: int,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
) -> TrainingHistory:
    """Train `detector` in place by the sum of its losses; it ends on `device`, in eval mode.

    All that `offline.hardening.train` says of seeds, checkpoints and divergence holds.

    Raises:
        BadInput: fewer than two images, another order of classes, or an augmentation that boxes
            cannot follow.
    """
    if images.classes != detector.classes:
        raise BadInput(f"images of {images.classes} for a detector of {detector.classes}")
    if settings.augmentation.shift:
        raise BadInput("augmentation.shift: boxes do not follow it; only `flip` is possible")
    flip = settings.augmentation.flip

    def loss(
        model: nn.Module, batch: Tensor, numbers: Tensor, generator: torch.Generator
    ) -> Tensor:
        truths = [_to(images.truths[number], batch.device) for number in numbers.tolist()]
        if flip:
            chosen = torch.rand(len(batch), generator=generator) < 0.5
            batch, truths = mirrored(batch, truths, chosen)
        parts = detector.losses(batch.float(), truths)
        return torch.stack(list(parts.values())).sum(dim=0).mean()

    settings = settings.model_copy(update={"augmentation": Augmentation()})
    numbered = _Numbered(images)
    return train(detector, numbered, settings, seed, device, batch_loss=loss, checkpoint=checkpoint)


def mirrored(
    images: Float[Tensor, "batch 3 height width"],
    truths: Sequence[Truth],
    chosen: Tensor,
) -> tuple[Float[Tensor, "batch 3 height width"], list[Truth]]:
    """Mirror the `chosen` images (bool [batch]) left and right, and their boxes with them."""
    width = images.shape[3]
    place = chosen.to(images.device)[:, None, None, None]
    moved = [
        Truth(_mirrored_boxes(truth.boxes, width), truth.labels) if turn else truth
        for truth, turn in zip(truths, chosen.tolist(), strict=True)
    ]
    return torch.where(place, images.flip(3), images), moved


def _mirrored_boxes(boxes: Tensor, width: int) -> Tensor:
    x0, y0, x1, y1 = boxes.unbind(1)
    return torch.stack((width - x1, y0, width - x0, y1), dim=1)


def _to(truth: Truth, device: torch.device) -> Truth:
    return Truth(truth.boxes.to(device), truth.labels.to(device))


class _Numbered(ImageSet):
    """Images whose labels are their numbers, by which the loss looks up their objects."""

    def __init__(self, images: DetectionImages) -> None:
        self.images, self.classes = images, images.classes
        self.labels = torch.arange(len(images))
        shape = images.pixels.shape
        self.shape = (shape[1], shape[2], shape[3])

    def fetch(self, indices: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        return self.images.fetch(indices)

    def fingerprint(self) -> str:
        return self.images.fingerprint()
