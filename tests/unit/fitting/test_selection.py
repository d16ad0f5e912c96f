"""The kernel chosen without anomalies, against anomalies that the choice never saw."""

from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Float64
from scipy.stats import ortho_group
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import OneClassSVM

from guard.probes import Flatten
from offline.fitting.features import Features
from offline.fitting.selection import GAMMAS, NUS, Kernel, boundary_points, choose_kernel
from offline.fitting.settings import FitSettings
from offline.fitting.svms import fit_svms

Rows = Float64[np.ndarray, "n feature"]
WIDE = tuple(2.0**power for power in range(-4, 17, 2))


def ring(count: int, draw: np.random.Generator) -> Rows:
    angle, radius = draw.uniform(0, 2 * np.pi, count), draw.normal(3, 0.2, count)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


def two_blobs(count: int, draw: np.random.Generator) -> Rows:
    return draw.normal(0, 0.5, (count, 2)) + 2.5 * draw.choice([-1, 1], (count, 1))


def area(kernel: Kernel, rows: Rows, variance: float, clean: Rows, outliers: Rows) -> float:
    machine = OneClassSVM(gamma=kernel.gamma / variance, nu=kernel.nu).fit(rows)
    scores = -machine.score_samples(np.concatenate([clean, outliers]))
    return float(roc_auc_score(np.repeat([0, 1], [len(clean), len(outliers)]), scores))


@pytest.mark.parametrize("shape", [ring, two_blobs])
def test_a_width_too_small_and_one_too_large_both_lose(shape: object) -> None:
    """Outliers are uniform over the square, less what is as near to the data as clean rows are."""
    draw = np.random.default_rng(0)
    rows, clean = (shape(count, draw) for count in (300, 1000))  # type: ignore[operator]
    outliers = draw.uniform(-5, 5, (3000, 2))
    far = NearestNeighbors(n_neighbors=1).fit(shape(5000, draw))  # type: ignore[operator]
    outliers = outliers[far.kneighbors(outliers)[0][:, 0] > 0.3]
    variance = float(rows.var(axis=0).sum())
    chosen = choose_kernel([rows], variance, WIDE, (0.05,))
    areas = {
        gamma: area(Kernel(gamma, 0.05), rows, variance, clean, outliers) for gamma in WIDE
    }  # fmt: skip
    best = max(areas.values())
    assert areas[chosen.gamma] > best - 0.001
    assert areas[WIDE[0]] < best - 0.1
    assert areas[WIDE[-1]] < best - 0.02
    assert chosen.gamma not in (WIDE[0], WIDE[-1])


def test_nu_is_chosen_too() -> None:
    """Where a fifth of the rows are scattered, an SVM that must keep all of them inside loses."""
    draw = np.random.default_rng(1)
    rows = draw.normal(size=(300, 2))
    rows[::5] *= 6
    assert choose_kernel([rows], float(rows.var(axis=0).sum()), (0.5,), (0.001, 0.2)).nu == 0.2


def test_neither_a_turn_nor_a_shift_nor_a_scale_changes_the_choice() -> None:
    draw = np.random.default_rng(2)
    rows = [draw.normal(size=(120, 5)) * [3, 2, 1, 1, 0.5] + offset for offset in (0, 4)]
    turn = ortho_group.rvs(5, random_state=3)
    turned = [7 * one @ turn + 100 for one in rows]
    variances = [float(np.concatenate(kind).var(axis=0).sum()) for kind in (rows, turned)]
    assert choose_kernel(rows, variances[0]) == choose_kernel(turned, variances[1])


def test_only_the_first_rows_of_each_class_count_and_the_choice_repeats() -> None:
    draw = np.random.default_rng(4)
    rows = [draw.normal(size=(400, 3)) for _ in range(2)]
    other = [np.concatenate([one[:300], np.full((50, 3), 1e6)]) for one in rows]
    before = [one.copy() for one in rows]
    assert choose_kernel(rows, 3.0) == choose_kernel(rows, 3.0) == choose_kernel(other, 3.0)
    assert all(np.array_equal(*pair) for pair in zip(rows, before, strict=True))


def test_with_too_few_rows_the_usual_kernel_stands() -> None:
    rows = [np.random.default_rng(5).normal(size=(count, 3)) for count in (100, 7)]
    assert choose_kernel(rows, 3.0, GAMMAS, NUS) == Kernel(2.0, 0.05)
    assert choose_kernel([np.ones((50, 3))], 1.0, (0.5, 1.0), (0.1,)) == Kernel(0.5, 0.1)


def test_each_layer_is_fitted_with_the_kernel_chosen_for_it(tmp_path: Path) -> None:
    draw = np.random.default_rng(7)
    tables = [np.concatenate([ring(80, draw), two_blobs(80, draw)]), draw.normal(size=(160, 6))]
    layers, chosen = [], []
    for at, table in enumerate(tables):
        table = (table - table.mean(axis=0)).astype(np.float32)
        np.save(tmp_path / f"{at}.npy", table)
        layers.append(Features(tmp_path / f"{at}.npy", np.array([80, 80]), Flatten()))
        chosen.append(choose_kernel([table[:80], table[80:]], float(table.var(axis=0).sum())))
    assert chosen[0] != chosen[1]
    auto = FitSettings(nu="auto", gamma="auto", jobs=1)
    found = fit_svms(layers, [Flatten()] * 2, auto)
    for one, layer, kernel in zip(found, layers, chosen, strict=True):
        fixed = FitSettings(nu=kernel.nu, gamma=kernel.gamma, jobs=1)
        (alone,) = fit_svms([layer], [Flatten()], fixed)
        assert torch.equal(one.vectors, alone.vectors)


def test_boundary_points_of_a_circle_have_a_closed_form() -> None:
    """Of 100 points on a circle each has five neighbours on either side, at chords 2 sin(πj/n)."""
    angles = 2 * np.pi * np.arange(100) / 100
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    step = np.mean(2 * np.sin(np.pi * np.arange(1, 6) / 100))
    assert boundary_points(circle) == pytest.approx((1 + step) * circle, abs=1e-9)


def test_boundary_points_of_a_disc_are_those_of_the_source_step_by_step() -> None:
    draw = np.random.default_rng(6)
    angle, radius = draw.uniform(0, 2 * np.pi, 400), np.sqrt(draw.uniform(size=400))
    disc = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    distances, nearest = NearestNeighbors(n_neighbors=15).fit(disc).kneighbors(disc)
    edges, normals, steps = [], [], []
    for row, lengths, neighbours in zip(disc, distances[:, 1:], nearest[:, 1:], strict=True):
        units = (row - disc[neighbours]) / lengths[:, None]
        normal = units.sum(axis=0)
        if (units @ normal >= 0).mean() > 0.99:
            edges.append(row)
            normals.append(normal / np.linalg.norm(normal))
            steps.append(lengths.mean())
    found = boundary_points(disc)
    assert found == pytest.approx(np.array(edges) + np.mean(steps) * np.array(normals), abs=1e-9)
    assert 5 < len(found) < 60
    assert np.linalg.norm(found, axis=1).min() > 1  # the disc has radius 1
