"""What is told of a bundle is what the detector in it was made of."""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import onnx
import pytest
import torch

from export.capture import capture
from export.inspection import Inspection, inspect_bundle
from export.onnx_graph import export_onnx
from guard.bundle import load_bundle, seal_bundle
from guard.errors import BadBundle
from guard.guarded import GuardedClassifier
from guard.manifest import Agreement
from guard.probes import UnitLength
from guard.validators import Validator
from offline.fitting import FitSettings
from offline.networks import small_resnet
from tests.benchmarks.random_detector import random_detector
from tests.unit.serving.tiny_bundle import write_bundle

AGREED = Agreement(images=10, logits=1e-6, score=2e-6, ties=1, tolerance=1e-4)


class Made(NamedTuple):
    folder: Path
    guarded: GuardedClassifier
    found: Inspection


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A bundle of a tiny network and a detector of random tables."""
    torch.manual_seed(0)
    model, images = small_resnet(3, width=4).eval(), torch.rand(2, 3, 16, 16)
    detector = random_detector(model, images, FitSettings(components=7, max_vectors=5))
    guarded = GuardedClassifier(model, detector).eval()
    folder = write_bundle(tmp_path_factory.mktemp("inspected") / "bundle", 16, 16)
    manifest = load_bundle(folder).manifest
    export_onnx(capture(guarded, images), folder / "model.onnx", {})
    update = {
        "layer_names": detector.layers,
        "parity": {"model.onnx": {"CPUExecutionProvider": AGREED}},
    }
    seal_bundle(folder, manifest.model_copy(update=update))
    return Made(folder, guarded, inspect_bundle(folder, measure=True))


def test_the_layers_keep_what_the_modules_buffers_are(made: Made) -> None:
    detector, found = made.guarded.detector, made.found
    assert [layer.name for layer in found.layers] == list(detector.layers)
    assert [layer.kind for layer in found.layers][-2:] == ["one-class SVMs", "energy"]
    for validator, layer in zip(detector.validators, found.layers, strict=True):
        shapes = {name: tuple(buffer.shape) for name, buffer in validator.named_buffers()}
        if isinstance(validator, Validator):
            features, components = shapes["scaling.matrix"]
            by_length = isinstance(validator.reduction, UnitLength)
            expected = {
                "matrix": (features - by_length, components),
                "centres": shapes["svms.centres"],
                "vectors": shapes["svms.vectors"],
            } | ({"length": (1, components)} if by_length else {})
        else:
            expected = shapes
        assert layer.tables == expected
        assert layer.size == sum(4 * torch.Size(shape).numel() for shape in layer.tables.values())


def test_weights_are_told_apart_and_both_costs_are_counted(made: Made) -> None:
    found, model = made.found, made.guarded.model
    # Batch norms are folded into the convolutions: a scale and a shift less for each channel.
    learned = 4 * sum(parameter.numel() for parameter in model.parameters())
    assert 0.8 * learned <= found.table_bytes.model <= learned
    kept = sum(layer.size for layer in found.layers)
    calibration = made.guarded.detector.calibration
    known = kept + calibration.numel() * (4 + 8)  # the scores, and the group of each
    assert known <= found.table_bytes.detector <= known + 4096
    graph = onnx.load(made.folder / "model.onnx")
    every = sum(onnx.numpy_helper.to_array(one).nbytes for one in graph.graph.initializer)
    assert every == found.table_bytes.model + found.table_bytes.detector
    assert found.operations.model > found.operations.detector > 0
    assert found.operations_ratio == 1 + found.operations.detector / found.operations.model
    assert found.measured is not None
    low, high = found.measured.quartiles
    assert 0 < low <= found.measured.ratio <= high


def test_the_manifest_is_told_as_it_is(made: Made) -> None:
    manifest, found = load_bundle(made.folder).manifest, made.found
    for name in ("threshold", "false_alarm_rate", "calibration_size", "class_names", "parity"):
        assert getattr(found, name) == getattr(manifest, name)
    assert found.files == {"model.onnx": (made.folder / "model.onnx").stat().st_size}
    assert found.image == (3, 16, 16)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "guard", "inspect", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_the_command_shows_it(made: Made) -> None:
    shown = run(made.folder)
    assert shown.returncode == 0, shown.stderr
    for text in ("stages.stage4", "one-class SVMs", "energy", "operations", "parity, model.onnx"):
        assert text in shown.stdout
    told = json.loads(run(made.folder, "--json").stdout)
    expected = json.loads(made.found.model_dump_json())
    assert {**told, "measured": None} == {**expected, "measured": None}
    assert told["measured"] is None


def test_what_is_no_guarded_graph_is_refused(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    manifest = load_bundle(folder).manifest
    (folder / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(BadBundle, match="is altered"):
        inspect_bundle(folder)
    seal_bundle(folder, manifest)
    with pytest.raises(BadBundle, match=r"model\.onnx: is not a guarded graph"):
        inspect_bundle(folder)
    bare = write_bundle(tmp_path / "bare", outputs=("score",))
    with pytest.raises(BadBundle, match=r"is not a guarded graph: .*logits"):
        inspect_bundle(bare)


def test_where_any_size_will_do_one_is_counted(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    counted = {size: inspect_bundle(folder, size=size) for size in (8, 16)}
    assert counted[16].image == (3, 16, 16)
    # The mean over the image is all that its size can change.
    difference = counted[16].operations.model - counted[8].operations.model
    assert difference == 3 * (16 * 16 - 8 * 8)
