"""A budget on support vectors: a smaller set whose hyperplane lies as near as may be."""

import numpy as np
from jaxtyping import Float64, Int64
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls
from sklearn.metrics.pairwise import rbf_kernel

from guard.one_class_svm import Solution

__all__ = ["reduce_vectors"]

INDEPENDENT = 1e-8
"""A vector nearer than this (squared) to the span of the landmarks adds only rounding."""


def reduce_vectors(
    solution: Solution, features: Float64[np.ndarray, "n feature"], most: int
) -> Solution:
    """Return a solution of at most `most` support vectors, or the same one if it has no more.

    What is kept are landmarks among the support vectors, and the hyperplane w becomes its
    projection w' on the cone that they span, without negative coefficients, which have no logarithm
    (the reduced set of Schölkopf et al. 1999, "Input space versus feature space in kernel-based
    methods", section VI, with landmarks as in Nyström's method). They are chosen one by one, by a
    pivoted Cholesky decomposition of the kernel (Fine and Scheinberg 2001) whose pivot is the
    vector that takes off most of |w - w'|², not the one farthest from the span (kernel matching
    pursuit with back-fitting, Vincent and Bengio 2002).

    The error has a closed form, |w - w'|² / |w|² = 1 - |w'|² / |w|², and bounds that of each
    decision: no image's decision, offset aside, moves by more than |w - w'|, for k(x, x) = 1. The
    offset is moved so that as many of `features`, the training images, stay inside as before.
    """
    vectors, alpha, offset, gamma = solution
    if len(vectors) <= most:
        return solution
    kernel = rbf_kernel(vectors, gamma=gamma)
    chosen = _landmarks(kernel, kernel @ alpha, most)
    root = cholesky(kernel[np.ix_(chosen, chosen)])
    coefficients, _ = nnls(root, solve_triangular(root, kernel[chosen] @ alpha, trans="T"))
    chosen, coefficients = chosen[coefficients > 0], coefficients[coefficients > 0]
    sides = rbf_kernel(features, vectors, gamma=gamma)
    inside = int((sides @ alpha >= offset).sum())
    moved = _cut(sides[:, chosen] @ coefficients, inside)
    return Solution(vectors[chosen], coefficients, moved, gamma)


def _landmarks(
    kernel: Float64[np.ndarray, "n n"], onto: Float64[np.ndarray, " n"], most: int
) -> Int64[np.ndarray, " m"]:
    """Choose by the projection of what is left of w on what is left of each vector."""
    # What is left of k(v, v), of <w, φ(v)>, and the rows of the decomposition so far.
    square, product = kernel.diagonal().copy(), onto.copy()
    rows = np.zeros((most, len(kernel)))
    chosen: list[int] = []
    for step in range(most):
        free = square > INDEPENDENT
        if not free.any():
            break
        gain = np.where(free, np.square(product) / np.where(free, square, 1), -1)
        at = int(gain.argmax())
        row = (kernel[at] - rows[:step, at] @ rows[:step]) / np.sqrt(square[at])
        product -= row * product[at] / np.sqrt(square[at])
        square -= np.square(row)
        square[at] = 0  # rounding must not bring it back
        rows[step] = row
        chosen.append(at)
    return np.array(chosen, dtype=np.int64)


def _cut(values: Float64[np.ndarray, " n"], inside: int) -> float:
    """Return a number with `inside` of the values above it, half-way to the next below."""
    falling = np.sort(values)[::-1]
    last, first = max(inside - 1, 0), min(inside, len(values) - 1)
    return float((falling[last] + falling[first]) / 2)
