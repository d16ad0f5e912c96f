"""The thesis's way to fit one-class SVMs: scikit-learn's, on the activations as they are."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import OneClassSVM
from torch import Tensor

from guard.one_class_svm import Solution
from offline.evaluation.detection import roc_auc
from offline.fitting.features import activations_of
from tests.benchmarks.subjects import Subject

__all__ = ["Fits", "Images", "by_sklearn", "flattened", "objective", "thesis_area"]

Fits = list[list[Solution]]
"""The solutions of each layer and class."""


class Images(NamedTuple):
    """What a detector must tell apart, both [image, channel, height, width]."""

    clean: Tensor
    corner: Tensor


def flattened(
    subject: Subject, layers: Sequence[str], count: int, labels: Iterable[int]
) -> list[list[np.ndarray]]:
    """Return the activations of the first images of each class that are classified correctly."""
    train = subject.data.train
    tables: list[list[np.ndarray]] = [[] for _ in layers]
    for label in labels:
        found: list[list[np.ndarray]] = [[] for _ in layers]
        for part in torch.nonzero(train.labels == label).flatten()[:count].split(500):
            seen, predicted = activations_of(
                subject.model, train.fetch(part), layers, len(train.classes)
            )
            for parts, layer in zip(found, layers, strict=True):
                parts.append(seen[layer].flatten(1)[predicted == label].numpy())
        for of_layer, parts in zip(tables, found, strict=True):
            of_layer.append(np.concatenate(parts))
    return tables


def by_sklearn(rows: np.ndarray, nu: float, gamma: Any) -> Solution:
    """Solve one one-class SVM; gamma may be `scale`, as scikit-learn and the thesis have it."""
    machine = OneClassSVM(nu=nu, gamma=gamma).fit(rows)
    dual, offset = machine.dual_coef_[0], float(machine.offset_[0])
    return Solution(machine.support_vectors_, dual, offset, machine._gamma)


def thesis_area(
    subject: Subject, layers: Sequence[str], images: Images, fits: Fits
) -> float | None:
    """Sum minus the signed distances of all layers, without weights (equation 3.3)."""
    norms = [[np.sqrt(2 * objective(one)) for one in of_layer] for of_layer in fits]
    sides = []
    for every in images:
        scores = []
        for part in every.split(500):
            seen, labels = activations_of(subject.model, part, layers, len(norms[0]))
            score = np.zeros(len(part))
            for at, layer in enumerate(layers):
                rows = seen[layer].flatten(1).double().numpy()
                for label in labels.unique().tolist():
                    one, mine = fits[at][label], (labels == label).numpy()
                    near = rbf_kernel(rows[mine], one.vectors, gamma=one.gamma)
                    score[mine] -= (near @ one.coefficients - one.offset) / norms[at][label]
            scores.append(score)
        sides.append(np.concatenate(scores))
    return roc_auc(*sides)


def objective(solution: Solution) -> float:
    """Return the dual objective that is minimised, half of |w|²."""
    kernel = rbf_kernel(solution.vectors, gamma=solution.gamma)
    return float(solution.coefficients @ kernel @ solution.coefficients / 2)
