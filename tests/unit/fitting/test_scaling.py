"""Scaled features: their covariance, and what is kept of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from guard.probes import Whitening
from offline.fitting import FitSettings
from offline.fitting.features import Features
from offline.fitting.scaling import fit_scaling


def test_whitened_features_have_identity_covariance_within_classes(tmp_path: Path) -> None:
    draw, counts = np.random.default_rng(0), np.array([200, 100])
    mixed = draw.normal(size=(400, 6)) @ draw.normal(size=(6, 6)) + 30
    mixed[200:] += 50
    np.save(tmp_path / "rows.npy", mixed.astype(np.float32))
    features = Features(tmp_path / "rows.npy", counts, nn.Identity())
    whitening = fit_scaling(features, FitSettings(shrinkage=0))
    assert isinstance(whitening, Whitening)
    parts = [
        whitening(torch.from_numpy(np.array(features.of_class(label)))).numpy()
        for label in range(2)
    ]
    centred = np.concatenate([part - part.mean(axis=0) for part in parts])
    assert centred.T @ centred / 300 == pytest.approx(np.eye(6), abs=1e-3)
    assert np.concatenate(parts).mean(axis=0) == pytest.approx(np.zeros(6), abs=1e-3)
    cut = fit_scaling(features, FitSettings(shrinkage=0, components=2))
    assert cut.matrix.shape == (6, 2)


@pytest.mark.parametrize(("count", "components"), [(40, 10), (40, 100), (40, 300), (200, 100)])
def test_with_fewer_images_than_features_whitening_is_that_of_the_whole_matrix(
    tmp_path: Path, count: int, components: int
) -> None:
    """It is W with W'RW = 1 and WW' = 1 / R where the images vary most, R the correlations.

    Directions in which no image varies are all alike, and any of them may be kept.
    """
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(count, 300)) @ draw.normal(size=(300, 300))
    rows[::2] += 30
    np.save(tmp_path / "rows.npy", np.concatenate([rows[::2], rows[1::2]]).astype(np.float32))
    features = Features(tmp_path / "rows.npy", np.array([count // 2] * 2), nn.Identity())
    whitening = fit_scaling(features, FitSettings(components=components))
    assert isinstance(whitening, Whitening)

    parts = [np.array(features.of_class(label), np.float64) for label in range(2)]
    centred = np.concatenate([part - part.mean(axis=0) for part in parts])
    deviation = centred.std(axis=0)
    correlation = 0.9 * np.corrcoef(centred.T) + 0.1 * np.eye(300)
    found = deviation[:, None] * whitening.matrix.double().numpy()
    assert found.T @ correlation @ found == pytest.approx(np.eye(components), abs=1e-4)
    values, vectors = np.linalg.eigh(correlation)
    first = min(components, count - 2)
    kept = vectors[:, -first:] / np.sqrt(values[-first:])
    onto = vectors[:, -first:] @ vectors[:, -first:].T
    assert onto @ found @ found.T @ onto == pytest.approx(kept @ kept.T, abs=1e-4)


def test_a_feature_that_never_varies_does_not_break_the_scaling(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    rows[:, 1] = 0.3
    np.save(tmp_path / "rows.npy", rows)
    features = Features(tmp_path / "rows.npy", np.array([40]), nn.Identity())
    for scaling in ("centre", "standardise", "whiten"):
        scaled = fit_scaling(features, FitSettings(scaling=scaling))(torch.from_numpy(rows))
        assert torch.isfinite(scaled).all()
        assert scaled.abs().max() < 20
