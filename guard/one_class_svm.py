"""The one-class SVMs of one layer, one per class, as one module of standard operations."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["OneClassSVMs", "Solution", "log_ratio"]

NO_WEIGHT = -1e4
"""log α of a vector that only fills up; a finite one, for infinities would meet in subtractions."""


class Solution(NamedTuple):
    """One solved one-class SVM with the kernel exp(-gamma |x - v|²), in scikit-learn's scaling.

    Attributes:
        vectors: its support vectors.
        coefficients: of each, all positive; as solved, the dual ones (`OneClassSVM.dual_coef_[0]`).
        offset: rho (`OneClassSVM.offset_`); the decision is Σ coefficient · kernel - offset.
        gamma: the kernel's width, in 1 / squared distance.
    """

    vectors: Float64[np.ndarray, "vector feature"]
    coefficients: Float64[np.ndarray, " vector"]
    offset: float
    gamma: float


class OneClassSVMs(nn.Module):
    """One RBF one-class SVM per class (Schölkopf et al. 2001), each asked about its own images.

    The hyperplane w = Σ α φ(v) lies in kernel space. Both measures are positive where the training
    images of the class lie, and 0 on the border:

    - the signed distance of φ(x) to it, (Σ α k(x, v) - ρ) / |w| with |w|² = ΣΣ α α k(v, v), which
      is scikit-learn's decision function over |w|. The division matters: |w| grows with the count
      of training images, and without it the sum over layers is a sum of unlike units. Far from the
      class every kernel is 0, and all that is far is equally far: -ρ / |w|;
    - the log ratio log Σ α k(x, v) - log ρ, which orders the images of a class alike, but goes on
      falling, far out as -γ times the squared distance to the nearest support vector.

    One matrix product gives log α k / ρ = [2γv, -γ, log (α / ρ) - γ|v|²] · [x, |x|², 1].
    Features are first centred at the class, because that expansion loses digits far from the
    origin. `index_select` becomes ONNX's Gather, which every provider has; indexing would become
    GatherND. Classes have unlike counts of support vectors; short ones are filled up with vectors
    of no weight.
    """

    centres: Tensor
    vectors: Tensor
    offsets: Tensor
    norms: Tensor

    def __init__(self, classes: int, vectors: int, features: int) -> None:
        """Make room for SVMs; `from_solutions` or `load_state_dict` fills it."""
        super().__init__()
        self.register_buffer("centres", torch.zeros(classes, features))
        self.register_buffer("vectors", torch.zeros(classes, vectors, features + 2))
        self.register_buffer("offsets", torch.ones(classes))
        self.register_buffer("norms", torch.ones(classes))

    @classmethod
    def from_solutions(cls, solutions: Sequence[Solution]) -> "OneClassSVMs":
        """Build from one solution per class, in the order of the labels."""
        widest = max(len(solution.vectors) for solution in solutions)
        svms = cls(len(solutions), widest, solutions[0].vectors.shape[1])
        svms.vectors[:, :, -1] = NO_WEIGHT
        for label, (vectors, coefficients, offset, gamma) in enumerate(solutions):
            centre = vectors.mean(axis=0)
            centred = vectors - centre
            squares = np.square(centred).sum(axis=1)
            kernel = np.exp(-gamma * _squared_distances(centred, squares))
            norm = float(np.sqrt(coefficients @ kernel @ coefficients))
            constant = np.log(coefficients / offset) - gamma * squares
            augmented = np.column_stack(
                [2 * gamma * centred, np.full(len(vectors), -gamma), constant]
            )
            svms.centres[label] = torch.from_numpy(centre)
            svms.vectors[label, : len(vectors)] = torch.from_numpy(augmented)
            svms.offsets[label] = offset / norm
            svms.norms[label] = norm
        return svms

    def forward(
        self, features: Float[Tensor, "batch feature"], label: Int64[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return the signed distance of each row to the hyperplane of its label's SVM."""
        return self.log_ratio(features, label).expm1() * self.offsets.index_select(0, label)

    def log_ratio(
        self, features: Float[Tensor, "batch feature"], label: Int64[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return the log ratio of each row under its label's SVM."""
        centred = features - self.centres.index_select(0, label)
        return log_ratio(centred, self.vectors.index_select(0, label))

    def decision_function(
        self, features: Float[Tensor, "batch feature"], label: Int64[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return what `sklearn.svm.OneClassSVM.decision_function` does: distance times |w|."""
        distance: Tensor = self(features, label)
        return distance * self.norms.index_select(0, label)


def log_ratio(
    centred: Float[Tensor, "*batch feature"], vectors: Float[Tensor, "*batch vector augmented"]
) -> Float[Tensor, "*batch"]:
    """Return the log ratio of each point, centred at its class, under that class's vectors."""
    square = (centred * centred).sum(dim=-1, keepdim=True)
    augmented = functional.pad(torch.cat([centred, square], dim=-1), (0, 1), value=1.0)
    # A column behind the rows: a row before their transposed is far slower in ONNX Runtime.
    exponents = torch.matmul(vectors, augmented.unsqueeze(-1))
    return exponents.logsumexp(dim=(-2, -1))


def _squared_distances(
    points: Float64[np.ndarray, "vector feature"], squares: Float64[np.ndarray, " vector"]
) -> Float64[np.ndarray, "vector vector"]:
    distances: np.ndarray = squares[:, None] + squares[None, :] - 2 * points @ points.T
    return np.asarray(distances.clip(min=0))
