"""One one-class SVM, solved among the few rows that can be its support vectors."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64
from sklearn.svm import OneClassSVM

from guard.one_class_svm import Solution

__all__ = ["solve"]

FEWEST_ROWS = 600
"""With fewer, choosing candidates costs more than it saves."""

SAMPLE = (150, 1000)
"""The sample is a tenth of the rows, within these bounds."""

MOST_CANDIDATES = 4000
"""libsvm takes their kernel matrix in float64, 128 MB."""

GAP = 1e-4

TOLERANCES = (1e-2, *[3e-5] * 8)
"""How far a round may leave the conditions of optimality, as a share of rho: the first is a guess
at the support vectors."""

NEAR = 300.0
"""|x - y|² loses as many digits as the squares of the rows have: up to this gamma |x|², float32
leaves the kernel's values four."""


def solve(features: Float[np.ndarray, "n feature"], nu: float, gamma: float) -> Solution:
    """Solve a one-class SVM with the kernel k(x, y) = exp(-gamma |x - y|²) and nu in (0, 1).

    In scikit-learn's scaling: minimise aKa / 2 over weights a, one per row, in [0, 1] and of the
    sum nu n. The objective comes within 1e-4 of the least, relatively, as the duality gap tells.

    The rows with a weight are few, those where the density Ka is least. libsvm computes more rows
    of K than theirs, slowly, one after the other. Here one matrix product gives it the K of some
    candidates, another gives the density of all rows, and those that lie below rho become
    candidates too, until the gap has closed. The first candidates are those that lie below the rho
    of a sample. libsvm is given all rows where that is faster or the candidates would be too many.
    """
    count, mass = len(features), nu * len(features)
    if count < FEWEST_ROWS:
        return _among_all(features, nu, gamma)
    kernel = _Kernel(features, gamma)
    sample = np.arange(0, count, count // int(np.clip(count // 10, *SAMPLE)))
    found = _among(sample, -kernel.squares, kernel, nu * len(sample), 1e-2)
    if len(found.rows) == len(sample):
        return _among_all(features, nu, gamma)
    density = kernel.density(found)
    for tolerance in TOLERANCES:
        candidates = _candidates(density, found, mass)
        if len(candidates) > MOST_CANDIDATES:
            break
        found = _among(candidates, density, kernel, mass, tolerance)
        density = kernel.density(found)
        if _gap(density, found, mass) < GAP:
            vectors = features[found.rows].astype(np.float64)
            return Solution(vectors, found.weights, found.offset, gamma)
    return _among_all(features, nu, gamma)


class _Weights(NamedTuple):
    rows: Int64[np.ndarray, " vector"]
    weights: Float64[np.ndarray, " vector"]
    offset: float


class _Kernel:
    """The parts of a kernel matrix that are asked for, each from one matrix product."""

    def __init__(self, features: Float[np.ndarray, "n feature"], gamma: float) -> None:
        centred = features - features.mean(axis=0)
        centred *= np.sqrt(2 * gamma)
        self.squares = np.einsum("ij,ij->i", centred, centred) / 2
        precision = np.float32 if self.squares.max() < NEAR else np.float64
        self._left = np.empty((len(features), features.shape[1] + 2), precision)
        self._left[:, :-2], self._left[:, -2], self._left[:, -1] = centred, -self.squares, 1
        self._known: list[tuple[np.ndarray, np.ndarray]] = []

    def between(
        self, some: Int64[np.ndarray, " some"], others: Int64[np.ndarray, " other"] | slice
    ) -> Float[np.ndarray, "some other"]:
        """Return exp([x, -|x|²/2, 1] · [y, 1, -|y|²/2]), the factor 2 gamma being in x and y."""
        right = self._left[some]
        right[:, [-2, -1]] = right[:, [-1, -2]]
        exponents = right @ self._left[others].T
        return np.asarray(np.exp(exponents, out=exponents))

    def density(self, found: _Weights) -> Float[np.ndarray, " n"]:
        """Return Ka. What was computed for a row is kept: most have a weight again."""
        seen = [rows for rows, _ in self._known]
        fresh = np.setdiff1d(found.rows, np.concatenate(seen)) if seen else found.rows
        self._known.append((fresh, self.between(fresh, slice(None))))
        weights = np.zeros(len(self._left), self._left.dtype)
        weights[found.rows] = found.weights
        return np.asarray(sum(weights[rows] @ part for rows, part in self._known))


def _among(
    rows: Int64[np.ndarray, " row"],
    density: Float[np.ndarray, " n"],
    kernel: _Kernel,
    mass: float,
    tolerance: float,
) -> _Weights:
    """Solve among some rows, the least dense first, for libsvm starts with its weights on those."""
    rows = rows[np.argsort(density[rows])]
    matrix = kernel.between(rows, rows)
    # No mean density of rows is less than the least, and that is rho but for weights at 1.
    rho = mass * float(matrix.mean(dtype=np.float64))
    nu = min(1.0, mass / len(rows))
    machine = OneClassSVM(kernel="precomputed", nu=nu, tol=tolerance * rho).fit(matrix)
    return _Weights(rows[machine.support_], machine.dual_coef_[0], float(machine.offset_[0]))


def _candidates(
    density: Float[np.ndarray, " n"], found: _Weights, mass: float
) -> Int64[np.ndarray, " candidate"]:
    """Keep the rows with a weight and add the least dense: those below rho, in moderate number."""
    low = int(np.count_nonzero(density < found.offset))
    most = 3 * int(max(mass, len(found.rows)))
    wanted = max(int(1.5 * mass) + 20, min(low, most))
    if wanted >= len(density):
        return np.arange(len(density))
    return np.union1d(found.rows, np.argpartition(density, wanted)[:wanted])


def _gap(density: Float[np.ndarray, " n"], found: _Weights, mass: float) -> float:
    """Return the gap between primal and dual objective over the dual's, for the best rho."""
    last = min(int(mass), len(density) - 1)
    rho = float(np.partition(density, last)[last])
    product = float(found.weights @ density[found.rows])
    below = float(np.maximum(rho - density, 0).sum(dtype=np.float64))
    return (product + below - mass * rho) / (product / 2)


def _among_all(features: Float[np.ndarray, "n feature"], nu: float, gamma: float) -> Solution:
    machine = OneClassSVM(kernel="rbf", nu=nu, gamma=gamma).fit(features)
    vectors = np.asarray(machine.support_vectors_, dtype=np.float64)
    return Solution(vectors, machine.dual_coef_[0], float(machine.offset_[0]), gamma)
