"""The SVMs of a layer against scikit-learn, which solved them."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel
from sklearn.svm import OneClassSVM

from guard.one_class_svm import OneClassSVMs, Solution


def fitted(gamma: float, features: int, offset: float) -> tuple[list[OneClassSVM], OneClassSVMs]:
    """Three classes of unlike size, hence of unlike counts of support vectors."""
    draw = np.random.default_rng(0)
    machines = [
        OneClassSVM(gamma=gamma / features, nu=0.2).fit(
            offset + label + draw.normal(size=(count, features))
        )
        for label, count in enumerate([30, 200, 80])
    ]
    solutions = [
        Solution(m.support_vectors_, m.dual_coef_[0], float(m.offset_[0]), gamma / features)
        for m in machines
    ]
    return machines, OneClassSVMs.from_solutions(solutions)


@pytest.mark.parametrize("offset", [0.0, 50.0], ids=["centred", "far from the origin"])
@pytest.mark.parametrize("features", [1, 7, 96])
@pytest.mark.parametrize("gamma", [0.1, 1.0, 8.0])
def test_decisions_are_scikit_learns(
    gamma: float, features: int, offset: float, device: torch.device
) -> None:
    machines, svms = fitted(gamma, features, offset)
    assert len({len(machine.support_vectors_) for machine in machines}) > 1
    rows = offset + np.random.default_rng(1).normal(scale=2, size=(60, features))
    rows = rows.astype(np.float32)
    labels = torch.arange(60) % 3
    found = svms.to(device).decision_function(torch.from_numpy(rows).to(device), labels.to(device))
    expected = np.array(
        [machines[label].decision_function(rows[[i]])[0] for i, label in enumerate(labels)]
    )
    size = np.abs(expected).max()
    assert found.cpu().numpy() == pytest.approx(expected, rel=1e-5, abs=1e-5 * size)


def test_distance_is_the_decision_over_the_norm_of_the_hyperplane() -> None:
    machines, svms = fitted(1.0, 7, 0.0)
    rows = np.random.default_rng(1).normal(size=(5, 7)).astype(np.float32)
    for label, machine in enumerate(machines):
        kernel = rbf_kernel(machine.support_vectors_, gamma=1 / 7)
        norm = np.sqrt(machine.dual_coef_[0] @ kernel @ machine.dual_coef_[0])
        found = svms(torch.from_numpy(rows), torch.full((5,), label))
        expected = machine.decision_function(rows) / norm
        assert found.numpy() == pytest.approx(expected, abs=1e-5)


def test_the_log_ratio_is_of_scikit_learns_score_and_does_not_underflow() -> None:
    machines, svms = fitted(1.0, 7, 0.0)
    draw = np.random.default_rng(1)
    for away in (0, 40):  # at (40² · 7) / 7 from the vectors, e to whose minus is no float
        rows = (away + draw.normal(size=(5, 7))).astype(np.float32)
        for label, machine in enumerate(machines):
            squares = euclidean_distances(rows, machine.support_vectors_, squared=True)
            scores = logsumexp(-squares / 7, b=machine.dual_coef_[0], axis=1)
            found = svms.log_ratio(torch.from_numpy(rows), torch.full((5,), label))
            assert found.numpy() == pytest.approx(scores - np.log(machine.offset_[0]), rel=1e-4)


def test_far_features_lie_outside_and_nan_stays_nan() -> None:
    _, svms = fitted(1.0, 7, 0.0)
    rows = torch.stack([torch.full((7,), 1e15), torch.full((7,), torch.nan)])
    far, nan = svms(rows, torch.zeros(2, dtype=torch.int64))
    assert far == -svms.offsets[0]
    assert nan.isnan()
