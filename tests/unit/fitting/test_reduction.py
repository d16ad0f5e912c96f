"""Fewer support vectors, against scikit-learn's kernels and decisions."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import OneClassSVM
from torch import nn

from guard.one_class_svm import OneClassSVMs, Solution
from offline.fitting import FitSettings
from offline.fitting.features import Features
from offline.fitting.reduction import reduce_vectors
from offline.fitting.svms import fit_svms

GAMMA, NU = 0.1, 0.3


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    draw = np.random.default_rng(0)
    return np.concatenate([draw.normal(size=(200, 5)), draw.normal(3, 0.5, size=(100, 5))])


@pytest.fixture(scope="module")
def machine(rows: np.ndarray) -> OneClassSVM:
    return OneClassSVM(gamma=GAMMA, nu=NU).fit(rows)


@pytest.fixture(scope="module")
def full(machine: OneClassSVM) -> Solution:
    offset = float(machine.offset_[0])
    return Solution(machine.support_vectors_, machine.dual_coef_[0], offset, GAMMA)


def product(one: Solution, other: Solution) -> float:
    """<w, w'> in kernel space."""
    kernel = rbf_kernel(one.vectors, other.vectors, gamma=GAMMA)
    return float(one.coefficients @ kernel @ other.coefficients)


def lost(full: Solution, small: Solution) -> float:
    """|w - w'|² / |w|² from its definition, not from that w' is a projection."""
    both = product(full, full) - 2 * product(full, small) + product(small, small)
    return both / product(full, full)


def test_a_budget_that_is_not_reached_changes_nothing(full: Solution, rows: np.ndarray) -> None:
    for most in (len(full.vectors), 10_000):
        assert reduce_vectors(full, rows, most) is full


def test_the_error_falls_with_the_budget_and_has_its_closed_form(
    full: Solution, rows: np.ndarray
) -> None:
    errors = []
    for most in (1, 2, 4, 8, 16, 32, 64):
        small = reduce_vectors(full, rows, most)
        assert 0.9 * most <= len(small.vectors) <= most
        assert (small.coefficients > 0).all()
        assert {tuple(row) for row in small.vectors} <= {tuple(row) for row in full.vectors}
        errors.append(lost(full, small))
        assert errors[-1] == pytest.approx(
            1 - product(small, small) / product(full, full), abs=1e-9
        )
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < 1
    assert errors[-1] < 1e-3


def test_no_other_coefficients_of_the_same_vectors_come_nearer(
    full: Solution, rows: np.ndarray
) -> None:
    small = reduce_vectors(full, rows, 8)
    kernel = rbf_kernel(small.vectors, gamma=GAMMA)
    onto = rbf_kernel(small.vectors, full.vectors, gamma=GAMMA) @ full.coefficients
    found = minimize(
        lambda a: a @ kernel @ a / 2 - onto @ a,
        np.ones(len(onto)),
        jac=lambda a: kernel @ a - onto,
        bounds=[(0, None)] * len(onto),
        options={"ftol": 1e-15, "gtol": 1e-10},
    )
    assert small.coefficients == pytest.approx(found.x, rel=1e-4, abs=1e-4)


def test_chosen_vectors_beat_drawn_ones(full: Solution, rows: np.ndarray) -> None:
    chosen = lost(full, reduce_vectors(full, rows, 8))
    for seed in range(20):
        some = np.random.default_rng(seed).choice(len(full.vectors), 8, replace=False)
        kernel = rbf_kernel(full.vectors[some], full.vectors, gamma=GAMMA)
        coefficients = np.linalg.solve(kernel[:, some], kernel @ full.coefficients)
        drawn = Solution(full.vectors[some], coefficients, 0.0, GAMMA)
        assert chosen < lost(full, drawn)


def test_decisions_follow_scikit_learns_within_the_bound(
    machine: OneClassSVM, full: Solution, rows: np.ndarray
) -> None:
    new = np.random.default_rng(1).normal(1, 2, size=(400, 5)).astype(np.float32)
    expected = machine.decision_function(new)
    for most, least in ((8, 0.98), (32, 0.999)):
        small = reduce_vectors(full, rows, most)
        svms = OneClassSVMs.from_solutions([small])
        labels = torch.zeros(len(new), dtype=torch.int64)
        found = svms.decision_function(torch.from_numpy(new), labels).numpy()
        assert np.corrcoef(found, expected)[0, 1] > least
        bound = np.sqrt(lost(full, small) * product(full, full)) + 1e-4 * np.abs(expected).max()
        assert np.abs(found + small.offset - expected - full.offset).max() <= bound


@pytest.mark.parametrize("most", [1, 3, 20])
def test_as_many_training_images_stay_inside(
    machine: OneClassSVM, full: Solution, rows: np.ndarray, most: int
) -> None:
    small = reduce_vectors(full, rows, most)
    kernel = rbf_kernel(rows, small.vectors, gamma=GAMMA)
    inside = (kernel @ small.coefficients >= small.offset).sum()
    # Those on the margin are inside or not by rounding.
    assert inside == pytest.approx((machine.decision_function(rows) >= 0).sum(), abs=2)
    assert 1 - inside / len(rows) == pytest.approx(NU, abs=0.02)


def test_vectors_that_repeat_are_kept_once(rows: np.ndarray) -> None:
    twice = np.repeat(rows[:4], 5, axis=0)
    whole = Solution(twice, np.full(20, 0.5), 1.0, GAMMA)
    small = reduce_vectors(whole, twice, 10)
    assert len(small.vectors) == 4
    assert lost(whole, small) == pytest.approx(0, abs=1e-9)


def test_a_fit_keeps_to_its_budget(tmp_path: Path, rows: np.ndarray) -> None:
    np.save(tmp_path / "rows.npy", np.concatenate([rows, rows[::-1] + 2]).astype(np.float32))
    features = Features(tmp_path / "rows.npy", np.array([300, 300]), nn.Identity())
    (free,) = fit_svms([features], [nn.Identity()], FitSettings(jobs=1))
    (held,) = fit_svms([features], [nn.Identity()], FitSettings(jobs=1, max_vectors=12))
    assert free.vectors.shape[1] > 12
    assert held.vectors.shape == (2, 12, 7)
    label = torch.arange(600) // 300
    seen = torch.from_numpy(np.load(tmp_path / "rows.npy"))
    pair = torch.stack([free(seen, label), held(seen, label)])
    assert torch.corrcoef(pair)[0, 1] > 0.9
