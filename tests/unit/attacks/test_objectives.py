"""The losses that attacks raise, against numbers worked out by hand and against torch."""

import math

import pytest
import torch

from guard.errors import BadInput
from offline.attacks import (
    cross_entropy,
    divergence_from,
    label_smoothed_cross_entropy,
    lowered_score,
    margin,
    smoothed,
)

# The softmax of these logits is (1/2, 1/4, 1/4), so that every value below is a sum of logs of 2.
LOGITS = torch.tensor([[math.log(2), 0.0, 0.0]])
LOG2 = math.log(2)


@pytest.mark.parametrize(
    ("label", "smoothing", "value", "gradient"),
    [
        # −(1−α) log p_y − α/2 Σ log p_others; the gradient in the logits is p − y^LS.
        (0, 0.0, LOG2, (-0.5, 0.25, 0.25)),
        (0, 0.2, 0.8 * LOG2 + 0.2 * 2 * LOG2, (-0.3, 0.15, 0.15)),
        (0, 0.5, 1.5 * LOG2, (0.0, 0.0, 0.0)),
        (1, 0.2, (0.8 * 2 + 0.1 * 1 + 0.1 * 2) * LOG2, (0.4, -0.55, 0.15)),
    ],
)
def test_label_smoothed_cross_entropy_by_hand(label, smoothing, value, gradient, device):
    logits = LOGITS.clone().to(device).requires_grad_()
    loss = label_smoothed_cross_entropy(logits, torch.tensor([label], device=device), smoothing)
    loss.sum().backward()
    assert loss.item() == pytest.approx(value, abs=1e-6)
    torch.testing.assert_close(logits.grad.cpu(), torch.tensor([gradient]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5, 0.8])
def test_label_smoothed_cross_entropy_is_torchs_after_a_change_of_convention(smoothing):
    classes = 7
    logits = torch.randn(32, classes, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(32) % classes
    # torch gives the true class 1 − s + s/K; the same targets want s = α K / (K − 1).
    theirs = torch.nn.functional.cross_entropy(
        logits, labels, label_smoothing=smoothing * classes / (classes - 1), reduction="none"
    )
    torch.testing.assert_close(label_smoothed_cross_entropy(logits, labels, smoothing), theirs)


def test_cross_entropy_margin_and_lowered_score_by_hand():
    logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, -1.0, 4.0]])
    labels = torch.tensor([0, 1])
    assert margin(logits, labels).tolist() == [-1.0, 5.0]
    assert lowered_score(logits, labels).tolist() == [-3.0, 1.0]
    assert cross_entropy(LOGITS, torch.tensor([1])).item() == pytest.approx(2 * LOG2)


def test_divergence_by_hand_and_flat_at_the_clean_image():
    objective = divergence_from(LOGITS)
    uniform = torch.zeros(1, 3)
    # Σ p (log p − log 1/3) = log 3 − entropy(1/2, 1/4, 1/4) = log 3 − 1.5 log 2.
    expected = math.log(3) - 1.5 * LOG2
    assert objective(uniform, torch.tensor([0])).item() == pytest.approx(expected, abs=1e-6)
    same = LOGITS.clone().requires_grad_()
    objective(same, torch.tensor([0])).sum().backward()
    assert same.grad.abs().max() < 1e-6


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, 1.5, float("nan")])
def test_smoothing_outside_its_range_is_refused(smoothing):
    with pytest.raises(BadInput, match="0 ≤ smoothing < 1"):
        smoothed(smoothing)
