"""Conformal thresholds: a literal table, and what is promised of new images."""

import pytest
import torch

from guard.errors import BadInput
from offline.fitting import conformal_threshold


@pytest.mark.parametrize(
    ("count", "rate", "rank"),
    [(1, 0.5, 1), (9, 0.1, 9), (10, 0.1, 10), (19, 0.1, 18), (99, 0.01, 99), (999, 0.07, 930)],
)
def test_the_threshold_is_the_named_order_statistic(count: int, rate: float, rank: int) -> None:
    scores = torch.randperm(count, generator=torch.Generator().manual_seed(0)).float() + 1
    assert conformal_threshold(scores, rate).tolist() == [rank]


@pytest.mark.parametrize(("count", "rate", "least"), [(98, 0.01, 99), (0, 0.5, 1), (8, 0.1, 9)])
def test_too_few_scores_are_refused(count: int, rate: float, least: int) -> None:
    message = f"{rate} needs {least} calibration images or more, there are {count}"
    with pytest.raises(BadInput, match=message):
        conformal_threshold(torch.zeros(count), rate)


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(BadInput, match="not finite"):
        conformal_threshold(torch.tensor([0.0, torch.nan]), 0.5)


@pytest.mark.parametrize("rate", [0.01, 0.03, 0.1])
def test_the_realised_rate_is_the_promised_one(rate: float) -> None:
    """Over many calibration sets: the mean lies in [rate - 1/(n+1), rate], but for chance."""
    draw, sets, count = torch.Generator().manual_seed(1), 2000, 199
    alarms = torch.stack(
        [
            (torch.randn(50, generator=draw) > conformal_threshold(scores, rate)).float().mean()
            for scores in torch.randn(sets, count, generator=draw)
        ]
    )
    error = 4 * float(alarms.std()) / sets**0.5
    assert rate - 1 / (count + 1) - error <= float(alarms.mean()) <= rate + error
