"""The solver beside scikit-learn's OneClassSVM, and beside the conditions of optimality."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import OneClassSVM

from guard.one_class_svm import Solution
from offline.fitting import solver
from offline.fitting.solver import solve


def rows_of(kind: str, count: int, width: int, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(count, width))
    if kind == "clusters":
        rows = rows / 5 + draw.normal(size=(7, width))[draw.integers(7, size=count)]
    elif kind == "duplicates":
        rows = rows[draw.integers(max(1, count // 4), size=count)]
    elif kind == "constant":
        rows[:] = rows[0]
    elif kind == "tails":
        rows *= np.exp(1.5 * draw.normal(size=(count, 1)))
    elif kind == "off centre":
        rows += 1000
    return rows


def objective(solution: Solution) -> float:
    kernel = rbf_kernel(solution.vectors, gamma=solution.gamma)
    return float(solution.coefficients @ kernel @ solution.coefficients / 2)


CASES = [
    # kind, rows, features, gamma times features, nu
    ("normal", 1, 3, 1, 0.5),
    ("normal", 2, 3, 1, 0.05),
    ("normal", 7, 3, 1, 0.5),
    ("normal", 599, 8, 1, 0.05),
    ("normal", 600, 8, 1, 0.05),
    ("normal", 900, 8, 1, 0.01),
    ("normal", 900, 8, 1, 0.9),
    ("normal", 1100, 20, 2, 0.2),
    ("normal", 1100, 20, 2, 0.5),
    ("normal", 2500, 40, 2, 0.05),
    ("normal", 900, 20, 0.1, 0.05),
    ("normal", 900, 20, 1e3, 0.05),
    ("normal", 900, 3, 1, 0.05),
    ("normal", 700, 900, 2, 0.05),
    ("clusters", 1100, 4, 1, 0.05),
    ("clusters", 1100, 4, 30, 0.1),
    ("duplicates", 900, 10, 1, 0.05),
    ("duplicates", 2000, 4, 4, 0.1),
    ("constant", 900, 3, 1, 0.05),
    ("tails", 1100, 10, 1, 0.05),
    ("off centre", 900, 10, 1, 0.05),
]


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize(("kind", "count", "width", "width_gamma", "nu"), CASES)
def test_solutions_are_those_of_scikit_learn(
    kind: str, count: int, width: int, width_gamma: float, nu: float, precision: type[Any]
) -> None:
    rows, gamma = rows_of(kind, count, width).astype(precision), width_gamma / width
    solution = solve(rows, nu, gamma)
    machine = OneClassSVM(nu=nu, gamma=gamma, tol=1e-6).fit(rows.astype(np.float64))
    expected = Solution(machine.support_vectors_, machine.dual_coef_[0], machine.offset_[0], gamma)
    assert solution.vectors.dtype == solution.coefficients.dtype == np.float64
    assert {row.tobytes() for row in solution.vectors} <= {
        row.tobytes() for row in rows.astype(np.float64)
    }
    assert solution.coefficients.sum() == pytest.approx(nu * count, rel=1e-9)
    assert 0 < solution.coefficients.min() <= solution.coefficients.max() <= 1 + 1e-9
    assert objective(solution) == pytest.approx(objective(expected), rel=1e-4)
    assert solution.offset == pytest.approx(expected.offset, rel=2e-3)

    others = np.concatenate([rows_of(kind, 400, width, seed) for seed in (1, 2)])
    others[400:] *= 2
    decisions = [
        rbf_kernel(others, one.vectors, gamma=gamma) @ one.coefficients - one.offset
        for one in (solution, expected)
    ]
    assert np.abs(decisions[0] - decisions[1]).max() < 3e-3 * expected.offset
    aucs = [roc_auc_score(np.arange(800) < 400, values) for values in decisions]
    assert aucs[0] == pytest.approx(aucs[1], abs=1e-3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("nu", "width_gamma"), [(0.02, 2), (0.1, 4), (0.3, 2)])
def test_the_duality_gap_is_closed(nu: float, width_gamma: float, seed: int) -> None:
    """In float64 and over all rows: ½ wᵀw + Σ max(0, rho - f) - rho nu n, minus -½ wᵀw."""
    rows = rows_of("normal", 1300, 12, seed).astype(np.float32)
    solution = solve(rows, nu, width_gamma / 12)
    density = (
        rbf_kernel(rows.astype(np.float64), solution.vectors, gamma=solution.gamma)
        @ solution.coefficients
    )
    slack = np.maximum(0, solution.offset - density).sum()
    gap = 2 * objective(solution) + slack - solution.offset * nu * len(rows)
    assert abs(gap) < 3e-4 * objective(solution)
    assert np.mean(density < 0.99 * solution.offset) <= nu


@pytest.mark.parametrize(
    ("name", "value"), [("MOST_CANDIDATES", 10), ("TOLERANCES", (0.5,)), ("FEWEST_ROWS", 10**6)]
)
def test_where_candidates_do_not_do_all_rows_are_given(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(solver, name, value)
    rows = rows_of("normal", 700, 5)
    machine = OneClassSVM(nu=0.05, gamma=0.2).fit(rows)
    solution = solve(rows, 0.05, 0.2)
    assert np.array_equal(solution.vectors, machine.support_vectors_)
    assert np.array_equal(solution.coefficients, machine.dual_coef_[0])
    assert solution.offset == machine.offset_[0]


def test_the_first_candidates_may_be_far_from_the_last() -> None:
    """A dense knot that the sample misses, beside one that it sees, and rows sorted to mislead."""
    draw = np.random.default_rng(3)
    rows = draw.normal(size=(1500, 6))
    rows[1::10] += 4
    rows = rows[np.argsort(rows[:, 0])]
    solution = solve(rows, 0.05, 0.5)
    machine = OneClassSVM(nu=0.05, gamma=0.5, tol=1e-6).fit(rows)
    dual = machine.dual_coef_[0]
    least = dual @ rbf_kernel(machine.support_vectors_, gamma=0.5) @ dual / 2
    assert objective(solution) == pytest.approx(least, rel=1e-4)
