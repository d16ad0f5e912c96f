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
    correlation = np.zeros((len(mean), len(mean)))
    for label in classes:
        standardised = (features.of_class(label) - means[label]) * scale
        correlation += standardised.T @ standardised / total
    return Whitening(_float(mean), _float(scale[:, None] * _whitener(correlation, settings)))


def _whitener(
    correlation: Float64[np.ndarray, "feature feature"], settings: FitSettings
) -> Float64[np.ndarray, "feature component"]:
    size, shrinkage = len(correlation), settings.shrinkage
    first = max(0, size - settings.components)
    # LAPACK's routine for a part of the spectrum (evr) can fail where many eigenvalues are equal,
    # as they are wherever there are fewer images than features; the one for all of it does not.
    shrunk = (1 - shrinkage) * correlation + shrinkage * np.eye(size)
    values, vectors = (part[..., first:] for part in np.linalg.eigh(shrunk))
    kept: np.ndarray = np.maximum(values, EIGENVALUE_FLOOR * max(values.max(), EIGENVALUE_FLOOR))
    return np.asarray(vectors / np.sqrt(kept))


def _float(values: Float64[np.ndarray, "..."]) -> Float[torch.Tensor, "..."]:
    return torch.from_numpy(np.ascontiguousarray(values)).float()
