"""Information worth against scipy's entropy, and accuracy by class against scikit-learn."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.metrics import recall_score

from offline.counterexamples import (
    binary_membership,
    fractional_membership,
    information_worth,
    normalised_accuracy,
)

POINTS, CLASSES = 200, 5


def drawn():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(POINTS, CLASSES, generator=generator)
    labels = torch.randint(CLASSES, (POINTS,), generator=generator)
    return logits, labels, torch.rand(POINTS, generator=generator)


def by_scipy(membership, labels, realism):
    """The definition of section 3.2, one subset after the other."""
    weights = membership * realism[:, None]
    subsets = [
        (weights[:, i].sum(), entropy([weights[labels == j, i].sum() for j in range(CLASSES)]))
        for i in range(CLASSES)
    ]
    return sum(size * worth for size, worth in subsets) / weights.sum()


@pytest.mark.parametrize("weighted", [False, True], ids=["even", "by realism"])
@pytest.mark.parametrize("kind", ["binary", "fractional"])
def test_information_worth_is_scipys_entropy(kind, weighted):
    logits, labels, realism = drawn()
    membership = (
        binary_membership(logits.argmax(dim=1), CLASSES)
        if kind == "binary"
        else fractional_membership(logits)
    )
    weights = realism.numpy() if weighted else np.ones(POINTS)
    expected = by_scipy(membership.numpy(), labels.numpy(), weights)
    worth = information_worth(membership, labels, realism if weighted else None)
    assert worth == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("predicted", "labels", "worth"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1], 0.0),  # every subset holds one class
        ([0, 0, 1, 1], [1, 1, 0, 0], 0.0),  # and so it does when the names are swapped
        ([0, 0, 0, 0], [0, 0, 1, 1], math.log(2)),
        ([0, 0, 1, 1], [0, 1, 1, 1], math.log(2) / 2),
    ],
)
def test_information_worth_by_hand(predicted, labels, worth):
    membership = binary_membership(torch.tensor(predicted), 3)
    assert information_worth(membership, torch.tensor(labels)) == pytest.approx(worth)


def test_a_point_that_nobody_believes_has_no_weight():
    membership = binary_membership(torch.tensor([0, 0, 0]), 2)
    labels = torch.tensor([0, 1, 1])
    whole = information_worth(membership[:2], labels[:2])
    assert information_worth(membership, labels, torch.tensor([1.0, 1.0, 0.0])) == whole


def test_accuracy_by_class_is_scikit_learns_recall():
    logits, labels, _ = drawn()
    predicted = logits.argmax(dim=1)
    by_class, overall = normalised_accuracy(predicted, labels, CLASSES)
    expected = recall_score(labels, predicted, average=None)
    np.testing.assert_allclose(by_class.numpy(), expected)
    assert overall == pytest.approx((predicted == labels).float().mean().item())
    by_class, overall = normalised_accuracy(torch.tensor([0, 1]), torch.tensor([0, 0]), 2)
    assert by_class[0] == 0.5
    assert by_class[1].isnan()
    assert overall == 0.5
