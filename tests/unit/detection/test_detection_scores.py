"""Recall and mean average precision against cases whose figures are known."""

import math

import pytest
import torch

from guard.errors import BadInput
from offline.detection.detector import Found, Truth
from offline.detection.evaluation import score_detections

CLASSES = ("car", "bus")
BOX = (10.0, 10.0, 30.0, 20.0)
OTHER = (60.0, 40.0, 80.0, 60.0)


def there(*boxes: tuple[float, ...], label: int = 0) -> Truth:
    return Truth(torch.tensor(boxes).reshape(-1, 4), torch.full((len(boxes),), label))


def found(*scored: tuple[tuple[float, ...], float], label: int = 0) -> Found:
    boxes = torch.tensor([box for box, _ in scored]).reshape(-1, 4)
    labels = torch.full((len(scored),), label)
    return Found(boxes, labels, torch.tensor([score for _, score in scored]))


def test_what_is_all_right_scores_1() -> None:
    scores = score_detections(
        [found((BOX, 0.9)), found((OTHER, 0.4), label=1)],
        [there(BOX), there(OTHER, label=1)],
        CLASSES,
    )
    assert scores[:4] == pytest.approx((1, 1, 1, 1))
    assert scores.by_class == pytest.approx({"car": 1, "bus": 1})


def test_a_false_find_between_two_right_ones() -> None:
    """Precision is 1 up to a recall of 1/2, then 2/3: over COCO's 101 recalls."""
    scores = score_detections(
        [found((BOX, 0.9), (OTHER, 0.8)), found((BOX, 0.7))], [there(BOX), there(BOX)], CLASSES
    )
    assert scores.map_50 == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert scores.recall_50 == 1
    assert scores.by_class == pytest.approx({"car": (51 + 50 * 2 / 3) / 101})


def test_a_loose_box_is_right_for_some_overlaps_alone() -> None:
    loose = (10.0, 10.0, 30.0, 16.2)  # an IOU of 0.62: 0.5, 0.55 and 0.6 of COCO's ten are passed
    scores = score_detections([found((loose, 0.9))], [there(BOX)], CLASSES)
    assert scores[:4] == pytest.approx((1, 1, 0.3, 0.3))


def test_what_is_missed_or_of_another_class() -> None:
    nothing = score_detections([found()], [there(BOX)], CLASSES)
    assert nothing[:4] == (0, 0, 0, 0)
    confused = score_detections([found((BOX, 0.9), label=1)], [there(BOX)], CLASSES)
    assert confused.map_50 == 0
    assert confused.by_class == {"car": 0}  # there is no bus that could be found
    half = score_detections([found((BOX, 0.9))], [there(BOX, OTHER)], CLASSES)
    assert half.recall_50 == 0.5


def test_images_without_objects() -> None:
    scores = score_detections([found(), found((BOX, 0.3))], [there(), there()], CLASSES)
    assert all(math.isnan(value) for value in scores[:4])
    assert scores.by_class == {}
    with pytest.raises(BadInput, match="0 detections for 0 images"):
        score_detections([], [], CLASSES)
    with pytest.raises(BadInput, match="1 detections for 2 images"):
        score_detections([found()], [there(), there()], CLASSES)
