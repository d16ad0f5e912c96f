"""The outer losses against the formulas of the thesis, worked out with numpy in float64."""

import math

import numpy as np
import pytest
import torch

from offline.hardening import madry_loss, mart_loss, standard_loss, trades_loss

GENERATOR = torch.Generator().manual_seed(0)
CLEAN = 2 * torch.randn(6, 4, generator=GENERATOR)
ADVERSARIAL = 2 * torch.randn(6, 4, generator=GENERATOR)
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])


def softmax(logits):
    powers = np.exp(logits.double().numpy())
    return powers / powers.sum(axis=1, keepdims=True)


def by_numpy(kind, weight):
    p, q = softmax(CLEAN), softmax(ADVERSARIAL)
    total = 0.0
    for row, label in enumerate(LABELS.tolist()):
        divergence = sum(p[row, k] * math.log(p[row, k] / q[row, k]) for k in range(4))
        others = max(q[row, k] for k in range(4) if k != label)
        total += {
            "standard": -math.log(p[row, label]),
            "madry": -math.log(q[row, label]),
            "trades": -math.log(p[row, label]) + weight * divergence,
            "mart": -math.log(q[row, label])
            - math.log(1 - others)
            + weight * divergence * (1 - p[row, label]),
        }[kind]
    return total / len(LABELS)


@pytest.mark.parametrize("weight", [1.0, 6.0])
@pytest.mark.parametrize("kind", ["standard", "madry", "trades", "mart"])
def test_the_loss_is_the_formula(kind, weight, device):
    clean, adversarial, labels = CLEAN.to(device), ADVERSARIAL.to(device), LABELS.to(device)
    loss = {
        "standard": lambda: standard_loss(clean, labels),
        "madry": lambda: madry_loss(adversarial, labels),
        "trades": lambda: trades_loss(clean, adversarial, labels, weight),
        "mart": lambda: mart_loss(clean, adversarial, labels, weight),
    }[kind]()
    assert loss.item() == pytest.approx(by_numpy(kind, weight), rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        # p(x) = (1/2, 1/4, 1/4), p(x′) = (1/4, 1/2, 1/4), y = 0, λ = 2:
        # KL = 1/2 log 2 − 1/4 log 2 = log 2 / 4.
        ("trades", math.log(2) + 2 * math.log(2) / 4),
        ("mart", math.log(4) + math.log(2) + 2 * math.log(2) / 4 * 0.5),
    ],
)
def test_the_loss_by_hand(kind, value):
    clean = torch.tensor([[math.log(2), 0.0, 0.0]])
    adversarial = torch.tensor([[0.0, math.log(2), 0.0]])
    loss = {"trades": trades_loss, "mart": mart_loss}[kind]
    assert loss(clean, adversarial, torch.tensor([0]), 2.0).item() == pytest.approx(value)


@pytest.mark.parametrize("loss", [trades_loss, mart_loss])
def test_gradients_reach_both_images_and_are_right(loss):
    clean = CLEAN.double().requires_grad_()
    adversarial = ADVERSARIAL.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, LABELS, 3.0), (clean, adversarial))


def test_mart_stays_finite_where_a_wrong_class_is_certain():
    sure = torch.tensor([[0.0, 200.0, 0.0]], requires_grad=True)
    loss = mart_loss(sure.detach(), sure, torch.tensor([0]), 5.0)
    loss.backward()
    assert loss.item() == pytest.approx(200 + 200 - math.log(2), rel=1e-5)
    assert sure.grad.isfinite().all()
