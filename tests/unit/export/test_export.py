"""What is exported says what the module says, wherever it runs."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export_samples import CLASSES, FEW, fitted, noise
from torch import nn
from torchvision.models import resnet18

from export import ExportSettings, capture, export_bundle, export_onnx, require_parity
from export.runners import Runner, onnx_runner
from guard.bundle import load_bundle
from guard.deep_validation import DeepValidation
from guard.errors import BadInput, CornerguardError
from guard.guarded import GuardedClassifier, GuardedOutput
from offline.datasets import ArrayImages
from offline.fitting import FitSettings, fit_deep_validation
from offline.networks import Normalised, seven_layer_cnn, small_resnet


class Written(NamedTuple):
    guarded: GuardedClassifier
    images: ArrayImages
    folder: Path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A small network's bundle in every format."""
    torch.manual_seed(0)
    model = Normalised(small_resnet(5, width=4), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    guarded, images = fitted(model, (3, 32, 32), FEW)
    base = tmp_path_factory.mktemp("export")
    (base / "report").mkdir()
    (base / "report" / "index.html").write_text("<p>figures</p>")
    export_bundle(
        guarded.train(),
        base / "bundle",
        class_names=CLASSES,
        images=images,
        data_fingerprint="f" * 64,
        settings=ExportSettings(formats=("torchscript", "torch_export")),
        report=base / "report",
    )
    assert guarded.training
    return Written(guarded.eval(), images, base / "bundle")


def test_the_bundle_verifies_and_says_what_it_holds(written: Written) -> None:
    manifest = load_bundle(written.folder).manifest
    names = ["model.onnx", "model.pt2", "model.ts", "report/index.html"]
    assert sorted(manifest.files) == names
    assert manifest.input_shape == (3, 32, 32)
    assert manifest.class_names == CLASSES
    assert manifest.layer_names == written.guarded.detector.layers
    assert manifest.threshold == float(written.guarded.detector.threshold)
    assert [output.name for output in manifest.outputs] == list(GuardedOutput._fields)
    assert set(manifest.parity) == {"model.onnx", "model.pt2", "model.ts"}
    assert manifest.parity["model.onnx"].keys() >= {"CPUExecutionProvider"}
    assert manifest.parity["model.ts"].keys() == manifest.parity["model.pt2"].keys() == {"cpu"}
    for places in manifest.parity.values():
        for agreement in places.values():
            assert agreement.images == len(written.images)
            assert max(agreement.logits, agreement.score) <= agreement.tolerance
    assert not (written.folder.parent / ".bundle.partial").exists()


def test_the_graph_is_standard_and_self_described(written: Written) -> None:
    model = onnx.load(written.folder / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [entry.name for entry in model.graph.input] == ["images", "threshold"]
    assert [entry.name for entry in model.graph.output] == list(GuardedOutput._fields)
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions
    assert not {node.op_type for node in model.graph.node} & {"GatherND", "SVMRegressor", "If"}
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(said["cornerguard.class_names"]) == list(CLASSES)
    assert said["cornerguard.false_alarm_rate"] == "0.3"
    assert said["cornerguard.data_fingerprint"] == "f" * 64


def test_a_threshold_given_at_run_time_turns_verdicts(written: Written) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(written.folder / "model.onnx"), options)
    images = written.images.fetch(torch.arange(50))
    with torch.no_grad():
        expected = written.guarded(images)
    feed = {"images": images.numpy()}
    default, score = session.run(["valid", "score"], feed)
    assert 0 < default.sum() < 50
    assert default.tolist() == expected.valid.tolist()
    for threshold in (float(np.sort(score)[24:26].mean()), -1e9, 1e9):
        given = {"threshold": np.array([threshold], np.float32)}
        (valid,) = session.run(["valid"], feed | given)
        assert valid.tolist() == (score <= threshold).tolist()


def test_images_that_are_no_number_are_not_valid(written: Written) -> None:
    images = written.images.fetch(torch.arange(3))
    images[0, 1, 5, 5] = torch.nan
    images[1] = torch.inf
    loose = {"threshold": np.array([1e30], np.float32), "images": images.numpy()}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(written.folder / "model.onnx"), options)
    assert session.run(["valid"], loose)[0].tolist() == [False, False, True]
    with torch.no_grad():
        assert written.guarded(images, torch.tensor([1e30])).valid.tolist() == [False, False, True]


def test_every_region_of_every_file_is_summed(written: Written) -> None:
    for name in ("guard.json", "model.onnx", "model.ts", "model.pt2", "report/index.html"):
        path = written.folder / name
        whole = path.read_bytes()
        for at in np.linspace(0, len(whole) - 1, 7).astype(int):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(BadInput, match=path.name):
                load_bundle(written.folder)
        path.write_bytes(whole)
    load_bundle(written.folder)


@pytest.mark.parametrize(
    ("model", "shape", "settings"),
    [
        (lambda: resnet18(num_classes=5), (3, 64, 64), FEW),
        (
            lambda: seven_layer_cnn(5),
            (1, 28, 28),
            FEW.model_copy(update={"reduction": "grid", "grid": 3, "joint": "sum"}),
        ),
        (
            lambda: seven_layer_cnn(5),
            (1, 28, 28),
            FEW.model_copy(update={"layers": ("energy", "conv4"), "thresholds": "per_class"}),
        ),
    ],
    ids=["resnet18", "seven layers, grid", "thresholds per class"],
)
def test_onnx_agrees_with_the_module(
    tmp_path: Path, model: type, shape: tuple[int, int, int], settings: FitSettings
) -> None:
    torch.manual_seed(0)
    guarded, images = fitted(model(), shape, settings)
    path = tmp_path / "model.onnx"
    real = images.fetch(torch.arange(100))
    export_onnx(capture(guarded, real[:2]), path, {})
    found = require_parity(guarded, onnx_runner(path), real, "model.onnx")
    assert found.images == 100
    assert max(found.logits, found.score) <= 1e-4
    assert {file.name for file in tmp_path.iterdir()} == {"model.onnx"}


def test_a_disagreement_names_the_worst_image(written: Written) -> None:
    images = written.images.fetch(torch.arange(80))

    def but(field: str, change: float) -> Runner:
        def run(batch: torch.Tensor) -> list[np.ndarray]:
            with torch.no_grad():
                output = written.guarded(batch)._asdict()
            hit = torch.isclose(batch, images[13]).all(-1).all(-1).all(-1)
            moved = output[field][hit] + torch.tensor(change, dtype=output[field].dtype)
            output[field][hit] = moved.to(output[field].dtype)
            return [value.numpy() for value in output.values()]

        return run

    require_parity(written.guarded, but("score", 0.0), images, "same")
    for field, change in (("logits", 0.1), ("label", 1), ("discrepancy", 0.1), ("score", 0.5)):
        with pytest.raises(CornerguardError, match=rf"x: {field} of image 13 "):
            require_parity(written.guarded, but(field, change), images, "x")
    with pytest.raises(CornerguardError, match=r"x: p_value of image 13 "):
        require_parity(written.guarded, but("p_value", 2.0), images, "x")
    with pytest.raises(CornerguardError, match=r"x: score of image 13 "):
        require_parity(written.guarded, but("score", float("nan")), images, "x")


class Slices(nn.Module):
    """Five pixels as logits."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, ::700]


class Branching(Slices):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = super().forward(images)
        return rows if rows.sum() > 0 else -rows


class Fixed(Slices):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images.view(7, 3, 32, 32))


@pytest.fixture(scope="module")
def on_input() -> DeepValidation:
    pixels = noise((3, 32, 32), 60, 0)
    labels = Slices()(pixels.float() / 255).argmax(1)
    images = ArrayImages(pixels, labels, CLASSES)
    settings = FEW.model_copy(update={"layers": ("input",)})
    return fit_deep_validation(Slices(), images, images, settings, 0)


def test_a_batch_size_fixed_in_the_code_is_named(on_input: DeepValidation) -> None:
    fixed, free = (GuardedClassifier(model, on_input).eval() for model in (Fixed(), Slices()))
    images = noise((3, 32, 32), 20, 1).float() / 255
    with pytest.raises(CornerguardError, match="the model: does not run on a batch of 20"):
        require_parity(fixed, free, images, "x")
    with pytest.raises(CornerguardError, match="x: does not run on a batch of 1"):
        require_parity(free, fixed, images, "x")


def test_a_verdict_may_differ_only_where_it_is_a_tie(written: Written) -> None:
    images = written.images.fetch(torch.arange(20))
    with torch.no_grad():
        score = written.guarded(images).score

    def turned(batch: torch.Tensor) -> list[np.ndarray]:
        with torch.no_grad():
            output = written.guarded(batch)
        return [value.numpy() for value in output._replace(valid=output.score < tied)]

    before = written.guarded.detector.threshold
    tied = score.sort().values[10:11].clone()
    try:
        written.guarded.detector.threshold = tied
        assert require_parity(written.guarded, turned, images, "tie").ties == 1
        tied = score.sort().values[8:9].clone()
        with pytest.raises(CornerguardError, match="valid of image"):
            require_parity(written.guarded, turned, images, "no tie")
    finally:
        written.guarded.detector.threshold = before


def test_control_flow_that_depends_on_data_is_named(
    on_input: DeepValidation, capfd: pytest.CaptureFixture[str]
) -> None:
    guarded = GuardedClassifier(Branching(), on_input).eval()
    with pytest.raises(CornerguardError, match=r"model \(Branching\): its code goes by the values"):
        capture(guarded, torch.rand(2, 3, 32, 32))
    assert capfd.readouterr().out == ""


def test_what_must_not_be_exported_is_named(written: Written, tmp_path: Path) -> None:
    common = {"images": written.images, "data_fingerprint": "f" * 64}
    with pytest.raises(BadInput, match="2 class names for 5 logits"):
        export_bundle(written.guarded, tmp_path / "b", class_names=("a", "b"), **common)
    fresh = DeepValidation(list(written.guarded.detector.validators))
    guarded = GuardedClassifier(written.guarded.model, fresh)
    with pytest.raises(BadInput, match="not calibrated"):
        export_bundle(guarded, tmp_path / "b", class_names=CLASSES, **common)
    assert not list(tmp_path.iterdir())
