"""Scaling fitted on training features: centred, standardised, or whitened within classes."""

import numpy as np
import torch
from jaxtyping import Float, Float64

from guard.probes import Standardisation, Whitening
from offline.fitting.features import Features
from offline.fitting.settings import FitSettings

__all__ = ["fit_scaling"]

VARIANCE_FLOOR = 1e-4
ROUNDING_FLOOR = 1e-6
EIGENVALUE_FLOOR = 1e-6

Spectrum = tuple[Float64[np.ndarray, " component"], Float64[np.ndarray, "feature component"]]


def fit_scaling(features: Features, settings: FitSettings) -> Standardisation | Whitening:
    """Fit the scaling of one layer's features, in float64.

    Variances and correlations are taken around each class's own mean and pooled over the classes,
    as linear discriminant analysis does: what is to be seen is how far an image lies from its
    class, not how far the classes lie apart.

    - `centre`: the overall mean is taken off, no more.
    - `standardise`: then each feature is divided by its deviation. A feature that (nearly) never
      varies counts as having a hundredth of the layer's typical deviation, or a thousandth of its
      own mean if that is more: if it moves at run time that is seen, but rounding is not.
    - `whiten`: then the features are turned along the eigenvectors of their correlation matrix R
      and scaled to unit variance. Eigenvalues are those of (1 - s) R + s I with s the shrinkage,
      and at least 1e-6 of the largest: the tiny ones are noise. The `components` largest stay.
    """
    classes = range(len(features.counts))
    total = int(features.counts.sum())
    means = [features.of_class(label).mean(axis=0, dtype=np.float64) for label in classes]
    mean = np.average(means, axis=0, weights=features.counts)
    if settings.scaling == "centre":
        return Standardisation(_float(mean), _float(np.ones_like(mean)))
    variance = sum(
        np.square(features.of_class(label) - means[label]).sum(axis=0) for label in classes
    ) / np.float64(total)
    # A layer that never varies at all has nothing to be scaled by.
    floor = np.maximum(VARIANCE_FLOOR * variance.mean(), ROUNDING_FLOOR * np.square(mean))
    floor[floor == 0] = 1.0
    scale = 1 / np.sqrt(np.maximum(variance, floor))
    if settings.scaling == "standardise":
        return Standardisation(_float(mean), _float(scale))
    rows = ((features.of_class(label) - means[label]) * scale for label in classes)
    if 2 * total < len(mean):
        values, vectors = _spectrum_of_few(np.concatenate(list(rows)), settings.components)
    else:
        values, vectors = _spectrum(
            sum(part.T @ part for part in rows) / total, settings.components
        )
    values = (1 - settings.shrinkage) * values + settings.shrinkage
    values = np.maximum(values, EIGENVALUE_FLOOR * max(values.max(), EIGENVALUE_FLOOR))
    return Whitening(_float(mean), _float(scale[:, None] * vectors / np.sqrt(values)))


def _spectrum(correlation: Float64[np.ndarray, "feature feature"], components: int) -> Spectrum:
    # LAPACK's routine for a part of the spectrum (evr) can fail where many eigenvalues are equal;
    # the one for all of it does not.
    values, vectors = np.linalg.eigh(correlation)
    return values[-components:], vectors[:, -components:]


def _spectrum_of_few(rows: Float64[np.ndarray, "n feature"], components: int) -> Spectrum:
    """Find the same in fewer rows than features, without the matrix, which is slow when wide.

    The rows span n directions; all others have the eigenvalue 0, and any of those do.
    """
    _, lengths, directions = np.linalg.svd(rows, full_matrices=False)
    values, vectors = np.square(lengths[:components]) / len(rows), directions[:components].T
    others = min(components, rows.shape[1]) - len(values)
    drawn = np.random.default_rng(0).normal(size=(rows.shape[1], others))
    orthonormal = np.linalg.qr(np.column_stack([vectors, drawn])).Q
    return np.pad(values, (0, others)), np.column_stack([vectors, orthonormal[:, len(values) :]])


def _float(values: Float64[np.ndarray, "..."]) -> Float[torch.Tensor, "..."]:
    return torch.from_numpy(np.ascontiguousarray(values)).float()
