import json
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.stats import beta, binom
from torch import Tensor, nn

from guard.errors import BadInput, CornerguardError
from offline.corner_cases import (
    CornerCaseSettings,
    Seeds,
    find_corner_cases,
)
from offline.datasets import ArrayImages
from offline.evaluation.detection import evaluate_detection, roc, roc_auc
from offline.evaluation.distortion import detection_under_distortion
from offline.evaluation.rates import false_alarm_band, false_alarms, rate


class Output(NamedTuple):
    logits: Tensor
    label: Tensor
    discrepancy: Tensor
    score: Tensor
    p_value: Tensor
    valid: Tensor


class GuardedByBrightness(nn.Module):
    """Errs above a mean of 0.5; one validator sees the mean, the other sees nothing."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor(threshold))

    def forward(self, images):
        mean = images.mean(dim=(1, 2, 3))
        logits = torch.stack([0.5 - mean, mean - 0.5], dim=1)
        discrepancy = torch.stack([mean, torch.zeros_like(mean)], dim=1)
        score = discrepancy.sum(dim=1)
        return Output(logits, logits.argmax(1), discrepancy, score, score, score <= self.threshold)


class Logits(nn.Module):
    def __init__(self, guarded: nn.Module) -> None:
        super().__init__()
        self.guarded = guarded

    def forward(self, images):
        return self.guarded(images).logits


def grey(levels: list[int]) -> ArrayImages:
    pixels = torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    return ArrayImages(pixels.contiguous(), torch.zeros(len(levels), dtype=torch.int64), ("dark",))


def seeds() -> Seeds:
    levels = torch.arange(20).view(-1, 1, 1, 1).expand(-1, 1, 4, 4) * 0.02
    return Seeds(levels.contiguous(), torch.zeros(20, dtype=torch.int64), torch.arange(20))


def measured(threshold: float, device: torch.device, names=("brightness", "contrast")):
    guarded = GuardedByBrightness(threshold).to(device)
    cases = find_corner_cases(
        Logits(guarded), seeds(), CornerCaseSettings(transformations=names)
    ).kept
    return evaluate_detection(
        guarded,
        grey([0, 51, 102, 153]),  # 0, 0.2, 0.4, 0.6: of which the last scores above any threshold
        cases,
        layers=("mean", "nothing"),
        false_alarm_rate=0.25,
        calibration_size=99,
    )


@pytest.mark.parametrize(
    ("clean", "corner", "area"),
    [
        ([0, 1, 2], [3, 4], 1.0),
        ([3, 4], [0, 1, 2], 0.0),
        ([0, 2], [1, 3], 0.75),
        ([1, 1], [1], 0.5),
        ([0, 1], [1], 0.75),
        ([0, 1], [], None),
    ],
)
def test_area_is_the_chance_that_a_corner_case_scores_higher(clean, corner, area):
    clean, corner = np.array(clean, dtype=float), np.array(corner, dtype=float)
    assert roc_auc(clean, corner) == area
    if area is not None:
        curve = roc(clean, corner)
        assert curve.auc == area
        trapezoids = np.diff(curve.false_alarm_rate) * (
            curve.detection_rate[1:] + curve.detection_rate[:-1]
        )
        assert trapezoids.sum() / 2 == pytest.approx(area)


def test_table_3_6_by_hand(device):
    found = measured(0.5, device)
    assert [entry.name for entry in found.corner_cases] == ["brightness", "contrast"]
    bright, contrast = found.corner_cases
    # 12 of 20 levels pass 0.5 and score 0.504 … 0.724; clean scores are 0, 0.2, 0.4, 0.6
    assert bright.success_rate == pytest.approx(0.6)
    wins = 12 * 3 + sum(level * 0.02 + 0.344 > 0.6 for level in range(8, 20))
    assert bright.auc == pytest.approx(wins / 48)
    assert bright.auc_by_layer == pytest.approx((wins / 48, 0.5))
    assert (bright.detected.count, bright.detected.total) == (12, 12)
    assert (bright.detected_failed.count, bright.detected_failed.total) == (0, 8)
    assert bright.auc_failed == pytest.approx(
        sum(level * 0.02 + 0.344 > clean / 255 for level in range(8) for clean in (0, 51, 102, 153))
        / 32
    )
    total = bright.detected.total + contrast.detected.total
    assert found.overall.detected.total == total
    assert found.overall.auc == pytest.approx(
        (bright.auc * bright.detected.total + contrast.auc * contrast.detected.total) / total
    )
    assert found.false_alarms.realised.count == 1
    assert found.false_alarms.within_band


def test_scores_curves_and_json_hold_the_same(device):
    found = measured(0.45, device)
    assert len(found.clean_scores) == 4
    for entry in found.corner_cases:
        successful, failed = found.successful_scores[entry.name], found.failed_scores[entry.name]
        assert len(successful) + len(failed) == 20
        assert roc_auc(found.clean_scores, successful) == entry.auc
    assert {name: curve.auc for name, curve in found.curves().items()} == pytest.approx(
        {entry.name: entry.auc for entry in (*found.corner_cases, found.overall)}
    )
    plain = found.as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False))["overall"]["auc"] == found.overall.auc


def test_nothing_found_is_no_error(device):
    found = measured(0.5, device, names=("rotation",))
    assert found.corner_cases == ()
    assert found.overall.auc is None
    assert found.overall.detected is None
    assert found.curves() == {}
    json.dumps(found.as_dict(), allow_nan=False)


def test_bad_detectors_are_named():
    guarded = GuardedByBrightness(0.5)
    more = {"layers": ("mean",), "false_alarm_rate": 0.1, "calibration_size": 9}
    with pytest.raises(BadInput, match="1 layer names for 2 single validators"):
        evaluate_detection(guarded, grey([0, 51]), [], **more)
    guarded.threshold.fill_(0.5)
    broken = nn.Sequential(_Overflow(), guarded)
    with pytest.raises(CornerguardError, match="1 of 2 images is not finite"):
        evaluate_detection(broken, grey([0, 51]), [], **more)


class _Overflow(nn.Module):
    def forward(self, images):
        return images / (images.mean(dim=(1, 2, 3), keepdim=True) > 0)


@pytest.mark.parametrize(("count", "total"), [(0, 10), (3, 10), (10, 10), (40, 1000)])
def test_interval_of_a_rate_is_clopper_and_pearson(count, total):
    found = rate(count, total)
    low = beta.ppf(0.025, count, total - count + 1) if count else 0.0
    high = beta.ppf(0.975, count + 1, total - count) if count < total else 1.0
    assert (found.value, found.low, found.high) == pytest.approx((count / total, low, high))


def test_rate_of_nothing():
    assert rate(0, 0) is None
    with pytest.raises(ValueError, match="clean image"):
        false_alarms(0, 0, 0.1, 99)


@pytest.mark.parametrize(("target", "calibration_size"), [(0.07, 99), (0.29, 99), (0.01, 500)])
def test_false_alarm_band_holds_95_of_100_simulated_calibrations(target, calibration_size):
    random = np.random.default_rng(0)
    low, high = false_alarm_band(target, calibration_size, 400)
    calibration = np.sort(random.random((20_000, calibration_size)), axis=1)
    rank = round(np.floor(target * (calibration_size + 1) + 1e-9))
    threshold = calibration[:, calibration_size - rank]
    realised = random.binomial(400, 1 - threshold) / 400
    inside = ((low <= realised) & (realised <= high)).mean()
    assert 0.94 < inside < 0.985
    assert low < target < high


def test_false_alarm_band_of_a_huge_calibration_is_binomial():
    low, high = false_alarm_band(0.1, 10**8 - 1, 200)
    assert (low, high) == (binom.ppf(0.025, 200, 0.1) / 200, binom.ppf(0.975, 200, 0.1) / 200)


def test_too_small_a_calibration_never_alarms():
    assert false_alarm_band(0.01, 50, 1000) == (0.0, 0.0)
    assert not false_alarms(1, 1000, 0.01, 50).within_band


def test_detection_under_growing_distortion(device):
    guarded = GuardedByBrightness(0.6).to(device)
    curve = detection_under_distortion(guarded, seeds(), "brightness", steps=4)
    assert [point.configuration for point in curve.points] == [(0.0,), (0.316,), (0.632,), (0.948,)]
    levels = np.arange(20) * 0.02
    for point in curve.points:
        mean = np.minimum(levels + point.configuration[0], 1)
        wrong, flagged = mean > 0.5, mean > 0.6
        assert point.success_rate == wrong.mean()
        assert _count(point.detected) == ((wrong & flagged).sum(), wrong.sum())
        assert _count(point.detected_failed) == ((~wrong & flagged).sum(), (~wrong).sum())
    json.dumps(curve.as_dict(), allow_nan=False)


@pytest.mark.parametrize(("name", "points"), [("scale", 7), ("complement", 1), ("translation", 16)])
def test_both_parameters_grow_alike(name, points):
    curve = detection_under_distortion(GuardedByBrightness(0.6), seeds(), name)
    assert len(curve.points) == points
    assert all(len(set(point.configuration)) <= 1 for point in curve.points)


def _count(found) -> tuple[int, int]:
    return (found.count, found.total) if found else (0, 0)
