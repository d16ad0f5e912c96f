"""The detector as it is exported says of each layer what scikit-learn's kernel says."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import torch
from sklearn.metrics.pairwise import rbf_kernel
from torch import Tensor, nn

from export import capture, export_onnx, export_program
from export.stacking import StackedValidation, stacked
from guard.deep_validation import DeepValidation, StandardisedSum
from guard.guarded import GuardedClassifier
from guard.one_class_svm import OneClassSVMs, Solution
from guard.probes import (
    ENERGY,
    INPUT,
    Flatten,
    Grid,
    Standardisation,
    Statistics,
    UnitLength,
    Whitening,
)
from guard.validators import DistanceValidator, Energy, Validator
from offline.fitting import FitSettings
from offline.networks import small_resnet
from tests.benchmarks.random_detector import random_detector

CLASSES, VECTORS = 3, 6
REDUCTIONS = {
    "maps": ((8, 4, 4), Statistics()),
    "more maps": ((5, 3, 3), Statistics()),
    "cells": ((4, 4, 4), Grid(2)),
    "tokens": ((7, 5), Statistics(2)),
    "rows": ((12,), Flatten()),
}


class Made(NamedTuple):
    validator: Validator
    solutions: list[Solution]


def made(
    layer: str, kind: type[Validator], components: int, *, by_length: bool, whitened: bool = True
) -> Made:
    """A validator of random SVMs whose features lie twenty deviations from the origin."""
    draw = np.random.default_rng(len(layer))
    reduction: nn.Module = REDUCTIONS[layer][1]
    if by_length:
        reduction = UnitLength(reduction)
    features = reduction(seen(layer, 200))
    mean, scale = features.mean(0), 1 / features.std(0)
    scaling: Standardisation | Whitening = Standardisation(mean, scale)
    if whitened:
        turn = torch.from_numpy(draw.normal(size=(len(mean), components))).float()
        scaling = Whitening(mean, scale[:, None] * turn / len(mean) ** 0.5)
    width = components if whitened else len(mean)
    solutions = [
        Solution(draw.normal(size=(VECTORS, width)), draw.uniform(0.1, 1, VECTORS), 0.4, gamma)
        for gamma in (0.05, 0.1, 0.2)
    ]
    return Made(kind(layer, reduction, scaling, OneClassSVMs.from_solutions(solutions)), solutions)


def seen(layer: str, count: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return 20 + torch.randn(count, *REDUCTIONS[layer][0], generator=draw)


def expected(one: Made, activation: Tensor, label: Tensor) -> np.ndarray:
    """What scikit-learn's kernel gives for features that are whitened in float64."""
    validator = one.validator
    features = validator.reduction(activation).double()
    rows = validator.scaling.double()(features).numpy()
    validator.scaling.float()
    found = []
    for row, at in zip(rows, label.tolist(), strict=True):
        vectors, alpha, offset, gamma = one.solutions[at]
        similarity = rbf_kernel(row[None], vectors, gamma=gamma)[0] @ alpha
        if isinstance(validator, DistanceValidator):
            norm = np.sqrt(alpha @ rbf_kernel(vectors, gamma=gamma) @ alpha)
            found.append((offset - similarity) / norm)
        else:
            found.append(np.log(offset / similarity))
    return np.array(found)


@pytest.mark.parametrize("by_length", [False, True])
@pytest.mark.parametrize("kind", [Validator, DistanceValidator])
def test_each_layer_is_judged_as_by_scikit_learns_kernel(
    kind: type[Validator], by_length: bool, device: torch.device
) -> None:
    every = [made(layer, kind, 4, by_length=by_length) for layer in REDUCTIONS]
    detector = StackedValidation(DeepValidation([one.validator for one in every])).to(device)
    assert list(detector.stacks) == ["0_1_2_3_4"]
    label = torch.arange(11) % CLASSES
    activations = [seen(layer, 11, 1) for layer in REDUCTIONS]
    found = detector.discrepancies([one.to(device) for one in activations], label.to(device)).cpu()
    for at, (one, activation) in enumerate(zip(every, activations, strict=True)):
        wanted = expected(one, activation, label)
        assert found[:, at].numpy() == pytest.approx(wanted, rel=1e-4, abs=1e-4), one.validator


def test_neighbours_of_one_size_are_stacked_and_all_answer_in_their_order() -> None:
    detector = DeepValidation(
        [
            made("rows", Validator, 4, by_length=False).validator,
            made("maps", Validator, 4, by_length=True).validator,
            made("more maps", Validator, 4, by_length=True).validator,
            made("cells", Validator, 4, by_length=True, whitened=False).validator,
            made("tokens", DistanceValidator, 4, by_length=True).validator,
            Energy(torch.tensor([1.0, 2.0, 3.0])),
        ]
    )
    detector.joining = StandardisedSum(torch.rand(6, 3), torch.rand(6, 3), torch.rand(6))
    detector.offset, detector.group = torch.rand(CLASSES), torch.tensor([0, 1, 1])
    detector.calibration, detector.calibration_group = torch.linspace(0, 5, 9), torch.arange(9) % 2
    detector.threshold = torch.tensor([2.0])
    twin = StackedValidation(detector)
    assert list(twin.stacks) == ["0", "1_2", "3", "4", "5"]
    images = {layer: seen(layer, 7, 2) for layer in REDUCTIONS} | {ENERGY: torch.randn(7, 3)}
    label = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    for found, wanted in zip(twin(images, label), detector(images, label), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_what_is_no_number_stays_none_and_the_far_lies_outside() -> None:
    one = made("rows", Validator, 4, by_length=False).validator
    twin = StackedValidation(DeepValidation([one]))
    rows = torch.stack([torch.full((12,), value) for value in (torch.nan, torch.inf, 1e12)])
    nan, endless, far = twin.discrepancies([rows], torch.zeros(3, dtype=torch.int64))[:, 0]
    assert nan.isnan()
    assert endless.isnan()
    assert far > 1e9


def test_the_exported_files_hold_each_table_once_and_the_detector_is_left_as_it_was(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    model, images = small_resnet(3, width=4).eval(), torch.rand(2, 3, 16, 16)
    guarded = GuardedClassifier(model, random_detector(model, images, FitSettings(components=7)))
    before = {name: value.clone() for name, value in guarded.eval().state_dict().items()}
    twin = stacked(guarded)
    assert twin.model is guarded.model
    assert INPUT in twin.detector.layers
    path = tmp_path / "model.onnx"
    captured = capture(guarded, images)
    export_onnx(captured, path, {})
    graph = onnx.load(path).graph
    tables = {one.name: one for one in graph.initializer if one.name.endswith(".vectors")}
    stacks = [name for name in twin.detector.state_dict() if name.endswith(".vectors")]
    assert set(tables) == {f"detector.{name}" for name in stacks}
    assert len(stacks) < len(guarded.detector.layers) - 1
    export_program(captured, path.with_suffix(".pt2"))
    held = torch.export.load(path.with_suffix(".pt2")).state_dict
    assert {name for name in held if "vectors" in name} == set(tables)
    after = guarded.state_dict()
    assert list(after) == list(before)
    assert all(
        torch.equal(value.nan_to_num(), before[n].nan_to_num()) for n, value in after.items()
    )
