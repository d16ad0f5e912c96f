"""The kernel of a layer's one-class SVMs, chosen on clean training images alone."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64
from sklearn.metrics import roc_auc_score
from sklearn.svm import OneClassSVM

__all__ = ["GAMMAS", "MOST_ROWS", "NUS", "Kernel", "boundary_points", "choose_kernel"]

GAMMAS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
NUS = (0.05, 0.01, 0.1)

MOST_ROWS = 300
"""So many rows of a class are looked at, at most: a choice costs less than a fit."""

HELD = 1 / 3

FEWEST = 8
USUAL = 2.0

NEAR_BOUNDARY = 0.99
"""The share of a row's neighbours that must lie behind it."""

TINY = 1e-12


class Kernel(NamedTuple):
    """What the one-class SVMs of one layer share.

    Attributes:
        gamma: the kernel's width, as a multiple of 1 / the layer's total variance.
        nu: the share of training images left outside.
    """

    gamma: float
    nu: float


def choose_kernel(
    rows: Sequence[Float[np.ndarray, "_ feature"]],
    variance: float,
    gammas: Sequence[float] = GAMMAS,
    nus: Sequence[float] = NUS,
) -> Kernel:
    """Choose gamma and nu for one layer so that held-out rows lie inside, boundary points outside.

    No anomaly is needed. A third of each class's rows is held out, and the SVM fitted to the others
    must tell those from `boundary_points` of the others: the merit is the ROC-AUC, over the
    discrepancies of all classes together, since so the detector uses them. Held-out rows take the
    place of the source's pseudo targets, for here there are enough. First gamma is chosen with the
    first nu, then nu with that gamma; among equals the first of the grid wins.

    Held-out rows of other classes are a poor stand-in for outliers: they lie so far away that
    nearly any width tells them apart, and half of the merit by them lost what was won. See
    `offline.fitting.FitSettings` for figures.

    Args:
        rows: the scaled features of each class, in random order; the first 300 are used.
        variance: the layer's total variance, of which `gammas` are multiples of the inverse.
        gammas, nus: the grid. If a class has fewer than 8 rows, or no row of any class lies on a
            boundary, there is nothing to choose by, and it is `Kernel(2, nus[0])`, or `gammas[0]`
            if 2 is not in the grid.
    """
    trials = [_trial(np.asarray(one[:MOST_ROWS], np.float64)) for one in rows]
    if min(map(len, rows)) < FEWEST or not any(len(trial.boundary) for trial in trials):
        return Kernel(USUAL if USUAL in gammas else gammas[0], nus[0])
    gamma = max(gammas, key=lambda gamma: _merit(trials, gamma / variance, nus[0]))
    return Kernel(gamma, max(nus, key=lambda nu: _merit(trials, gamma / variance, nu)))


def boundary_points(rows: Float64[np.ndarray, "n feature"]) -> Float64[np.ndarray, "m feature"]:
    """Return pseudo outliers just outside of n >= 2 rows, by "negative shifting".

    From Wang, Liu, Zhu, Porikli and Yin 2018, "Hyperparameter selection of one-class support vector
    machine by self-adaptive data shifting", Pattern Recognition 74. A row's normal is the sum of
    the unit vectors to it from its ⌈5 log10 n⌉ nearest neighbours; a row with 99 % of them behind
    it lies on the boundary. It is moved along its normal by the mean distance of all such rows to
    their neighbours. In many dimensions nearly every row lies on the boundary.
    """
    squares = _squared_distances(rows, rows)
    np.fill_diagonal(squares, np.inf)
    count = min(len(rows) - 1, int(np.ceil(5 * np.log10(len(rows)))))
    nearest = np.argpartition(squares, count - 1, axis=1)[:, :count]
    distances = np.sqrt(np.take_along_axis(squares, nearest, axis=1))
    weights = np.zeros_like(squares)
    np.put_along_axis(weights, nearest, 1 / np.maximum(distances, TINY), axis=1)
    normals = weights.sum(axis=1, keepdims=True) * rows - weights @ rows
    along = normals @ rows.T
    behind = np.take_along_axis(along, nearest, axis=1) <= along.diagonal()[:, None]
    lengths = np.linalg.norm(normals, axis=1)
    edge: Bool[np.ndarray, " n"] = (behind.mean(axis=1) >= NEAR_BOUNDARY) & (lengths > TINY)
    step = distances[edge].mean() if edge.any() else 0.0
    return np.asarray(rows[edge] + step * normals[edge] / lengths[edge, None])


class _Trial(NamedTuple):
    """Squared distances to the fitted rows of one class; one set of them serves every gamma."""

    fitted: Float64[np.ndarray, "fitted fitted"]
    held: Float64[np.ndarray, "held fitted"]
    boundary: Float64[np.ndarray, "boundary fitted"]


def _trial(rows: Float64[np.ndarray, "n feature"]) -> _Trial:
    # Far from the origin the expansion of |x - y|² would lose digits.
    rows = rows - rows.mean(axis=0)
    fitted, held = np.split(rows, [round(len(rows) * (1 - HELD))])
    kinds = (fitted, held, boundary_points(fitted))
    return _Trial(*(_squared_distances(kind, fitted) for kind in kinds))


def _merit(trials: Sequence[_Trial], gamma: float, nu: float) -> float:
    scores: list[Float64[np.ndarray, " row"]] = []
    outside: list[Bool[np.ndarray, " row"]] = []
    for fitted, held, boundary in trials:
        kernel = np.exp(-gamma * fitted)
        machine = OneClassSVM(kernel="precomputed", nu=nu).fit(kernel)
        support, dual = machine.support_, machine.dual_coef_[0]
        norm = np.sqrt(dual @ kernel[np.ix_(support, support)] @ dual)
        similarity = np.exp(-gamma * np.concatenate([held, boundary])[:, support]) @ dual
        scores.append((machine.offset_[0] - similarity) / norm)
        outside.append(np.arange(len(similarity)) >= len(held))
    return float(roc_auc_score(np.concatenate(outside), np.concatenate(scores)))


def _squared_distances(
    left: Float64[np.ndarray, "left feature"], right: Float64[np.ndarray, "right feature"]
) -> Float64[np.ndarray, "left right"]:
    squares = [np.einsum("ij,ij->i", one, one) for one in (left, right)]
    distances: np.ndarray = squares[0][:, None] + squares[1][None, :] - 2 * left @ right.T
    return np.asarray(distances.clip(min=0))
