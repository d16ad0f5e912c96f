"""How well a detector finds what is there: recall and mean average precision, by torchmetrics."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torchmetrics.detection import MeanAveragePrecision

from guard.errors import BadInput
from offline.detection.detection_set import DetectionImages
from offline.detection.detector import Detector, Found, Truth
from offline.models import device_of

__all__ = ["DetectionScores", "evaluate_detector", "score_detections"]


class DetectionScores(NamedTuple):
    """Figures in [0, 1] over the classes that have objects; of none, NaN."""

    map_50: float
    """The seeds': mean over classes of the average precision; a box of an IOU of 0.5 is right."""
    recall_50: float
    """Mean over classes of the share of objects that such a box finds, at any score."""
    map_coco: float
    """`map_50` averaged over IOUs of 0.5, 0.55, … 0.95."""
    recall_coco: float
    """`recall_50` averaged likewise."""
    by_class: dict[str, float]
    """`map_50` of each class."""


def evaluate_detector(
    detector: Detector,
    images: DetectionImages,
    batch_size: int = 32,
    least_score: float = 0.005,
) -> DetectionScores:
    """Return how well a detector in eval mode does on some images.

    Raises:
        BadInput: there is no image.
    """
    device = device_of(detector)
    found: list[Found] = []
    for numbers in torch.arange(len(images)).split(batch_size):
        found += detector.detect(images.fetch(numbers).to(device), least_score)
    return score_detections(found, images.truths, images.classes)


def score_detections(
    found: Sequence[Found], truths: Sequence[Truth], classes: Sequence[str]
) -> DetectionScores:
    """Compare what was found in each image with what is there, at most 100 boxes an image.

    Raises:
        BadInput: there is no image, or not one ground truth for each.
    """
    if not found or len(found) != len(truths):
        raise BadInput(f"{len(found)} detections for {len(truths)} images; one each is wanted")
    metric = MeanAveragePrecision(extended_summary=True, backend="pycocotools")
    metric.update(
        [{name: value.cpu() for name, value in each._asdict().items()} for each in found],
        [{name: value.cpu() for name, value in each._asdict().items()} for each in truths],
    )
    summary = metric.compute()
    # [IOU, recall, class, area, most boxes]; all areas, 100 boxes. -1: a class without an object.
    precision, recall = summary["precision"][:, :, :, 0, -1], summary["recall"][:, :, 0, -1]
    present = recall[0] >= 0
    precision, recall = precision[:, :, present], recall[:, present]
    numbers = torch.atleast_1d(summary["classes"])[present].tolist()
    single = precision[0].mean(dim=0).tolist()
    return DetectionScores(
        map_50=float(precision[0].mean()),
        recall_50=float(recall[0].mean()),
        map_coco=float(precision.mean()),
        recall_coco=float(recall.mean()),
        by_class={classes[number]: value for number, value in zip(numbers, single, strict=True)},
    )
