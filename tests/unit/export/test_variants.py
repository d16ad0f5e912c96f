"""Graphs of lower precision: torch's own arithmetic, own thresholds, promises that hold."""

import copy
import shutil
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export_samples import CLASSES, FEW, fitted, noise
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from PIL import Image
from scipy.stats import betabinom
from torch import nn

from export import Calibration, ExportSettings, export_bundle
from export.variants import write_variant
from guard.bundle import load_bundle
from guard.errors import BadInput, CornerguardError
from guard.guarded import GuardedClassifier
from guard.manifest import Manifest
from guard.serving.local import check_files
from offline.datasets import ArrayImages
from offline.fitting import calibrate, calibrate_on, fit_deep_validation
from offline.networks import Normalised, small_resnet

RATE = 0.1
SETTINGS = FEW.model_copy(update={"false_alarm_rate": RATE})
PRECISIONS = ("float16", "bfloat16", "int8")
RUN_HERE = ("float16", "int8")
IMAGES = 600


class Written(NamedTuple):
    guarded: GuardedClassifier
    calibration: ArrayImages
    images: ArrayImages
    folder: Path
    manifest: Manifest


def said_by(model: nn.Module, seed: int) -> ArrayImages:
    """Return blotches labelled as the model does."""
    pixels = noise((3, 32, 32), IMAGES, seed)
    with torch.no_grad():
        return ArrayImages(pixels, model(pixels.float() / 255).argmax(1), CLASSES)


def again(calibration: ArrayImages) -> Calibration:
    rule = partial(calibrate_on, classes=CLASSES, settings=SETTINGS, seed=0)
    return Calibration(calibration, rule)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A bundle in every precision; images for fitting, calibrating and comparing are apart."""
    torch.manual_seed(0)
    model = Normalised(small_resnet(5, width=4), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    guarded, _ = fitted(model, (3, 32, 32), FEW)
    calibration, images = said_by(model, 1), said_by(model, 2)
    calibrate(model, guarded.detector, calibration, SETTINGS, 0)
    folder = tmp_path_factory.mktemp("variants") / "bundle"
    manifest = export_bundle(
        guarded,
        folder,
        class_names=CLASSES,
        images=images,
        data_fingerprint="f" * 64,
        settings=ExportSettings(precisions=PRECISIONS, least_agreement=0.8),
        calibration=again(calibration),
    )
    return Written(guarded, calibration, images, folder, manifest)


def run(path: Path, images: torch.Tensor) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options)
    values = session.run(None, {"images": images.numpy()})
    return dict(zip([output.name for output in session.get_outputs()], values, strict=True))


def initializers(path: Path) -> dict[str, np.ndarray]:
    found = onnx.load(path).graph.initializer
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in found}


def band(count: int, calibrated: int) -> tuple[float, float]:
    """Return the rates between which clean images alarm, but for one draw in 10,000."""
    rank = int(np.ceil((calibrated + 1) * (1 - RATE) - 1e-9))
    law = betabinom(count, calibrated + 1 - rank, rank)
    return law.ppf(5e-5) / count, law.ppf(1 - 5e-5) / count


def test_the_manifest_says_what_each_variant_is_worth(written: Written) -> None:
    manifest = load_bundle(written.folder).manifest
    assert manifest == written.manifest
    assert set(manifest.variants) == set(PRECISIONS)
    assert {f"model.{precision}.onnx" for precision in PRECISIONS} < set(manifest.files)
    every = written.images.fetch(torch.arange(IMAGES))
    with torch.no_grad():
        ours = written.guarded(every)
    for precision, variant in manifest.variants.items():
        assert variant.images == IMAGES
        assert variant.calibration_size == manifest.calibration_size == IMAGES * 2 // 3
        assert variant.threshold != manifest.threshold
        assert manifest.graph(precision) == (variant.file, variant.threshold)
        if precision in RUN_HERE:
            found = run(written.folder / variant.file, every)
            assert variant.same_labels == np.mean(found["label"] == ours.label.numpy())
            assert variant.same_verdicts == np.mean(found["valid"] == ours.valid.numpy())
            assert variant.false_alarm_rate == np.mean(~found["valid"])
            assert (variant.engine, variant.file_images) == ("CPUExecutionProvider", IMAGES)
    assert manifest.variants["float16"].same_labels > 0.98
    assert manifest.graph() == ("model.onnx", manifest.threshold)
    with pytest.raises(BadInput, match="'int4' is not in the bundle; there are: float32, float16"):
        load_bundle(written.folder).onnx_path("int4")


def test_a_precision_that_no_provider_runs_is_not_passed_in_silence(written: Written) -> None:
    variant = written.manifest.variants["bfloat16"]
    try:
        run(written.folder / variant.file, written.images.fetch(torch.arange(1)))
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        assert (variant.engine, variant.file_images) == ("torch", 4)
    else:
        assert (variant.engine, variant.file_images) == ("CPUExecutionProvider", IMAGES)


@pytest.mark.parametrize(
    ("precision", "dtype", "tolerance"),
    [("float16", torch.float16, 0.01), ("bfloat16", torch.bfloat16, 0.1)],
)
def test_the_classifier_computes_as_torch_does_in_that_type(
    written: Written, precision: str, dtype: torch.dtype, tolerance: float
) -> None:
    path = written.folder / f"model.{precision}.onnx"
    images = written.images.fetch(torch.arange(8))
    names = ["logits", "discrepancy"]
    found = ReferenceEvaluator(str(path)).run(names, {"images": images.numpy()})
    model = copy.deepcopy(written.guarded.model).to(dtype)
    with torch.no_grad():
        lower, full = model(images.to(dtype)).float(), written.guarded.model(images)
    assert np.abs(found[0] - lower.numpy()).max() < tolerance * float(full.std())
    assert {value.dtype for value in found} == {np.dtype(np.float32)}
    kept = onnx.load(path).graph.initializer
    types = {t.name: t.data_type for t in kept if t.name.endswith("weight") or "vectors" in t.name}
    short = getattr(onnx.TensorProto, precision.upper())
    assert {kind for name, kind in types.items() if name.startswith("model.")} == {short}
    wide = {kind for name, kind in types.items() if name.startswith("detector.")}
    assert wide == {onnx.TensorProto.FLOAT}


def test_int8_rounds_the_products_of_the_classifier_alone(written: Written) -> None:
    full = initializers(written.folder / "model.onnx")
    lower = initializers(written.folder / "model.int8.onnx")
    weights = [name for name, value in full.items() if name.endswith("weight")]
    assert len(weights) == 13
    for name in weights:
        steps, scale = lower[f"{name}_quantized"], lower[f"{name}_scale"]
        assert steps.dtype == np.int8
        scale = scale.reshape(-1, *[1] * (steps.ndim - 1)) if scale.size > 1 else scale
        assert np.abs(steps * scale - full[name]).max() <= 0.5001 * scale.max(), name
    detector = {name: value for name, value in full.items() if ".stacks." in name}
    assert detector
    for name, value in detector.items():
        np.testing.assert_array_equal(lower[name], value)
    domains = {node.domain for node in onnx.load(written.folder / "model.int8.onnx").graph.node}
    assert domains == {""}


@pytest.mark.parametrize("precision", RUN_HERE)
def test_the_graph_carries_its_own_clean_scores(written: Written, precision: str) -> None:
    path = written.folder / f"model.{precision}.onnx"
    every = run(path, written.calibration.fetch(torch.arange(IMAGES)))["score"]
    order = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(0))
    clean = np.sort(every[order[IMAGES // 3 :].numpy()])
    held = initializers(path)
    np.testing.assert_allclose(held["detector.calibration"], clean, rtol=1e-4, atol=1e-4)
    rank = int(np.ceil((len(clean) + 1) * (1 - RATE) - 1e-9))
    np.testing.assert_allclose(held["threshold"], clean[rank - 1], rtol=1e-4)
    said = run(path, written.images.fetch(torch.arange(50)))
    above = (held["detector.calibration"] >= said["score"][:, None]).sum(1)
    np.testing.assert_allclose(said["p_value"], (above + 1) / (len(clean) + 1), rtol=1e-5)


@pytest.mark.parametrize("precision", RUN_HERE)
def test_the_promised_rate_holds_at_its_own_threshold(written: Written, precision: str) -> None:
    found = run(
        written.folder / f"model.{precision}.onnx", written.images.fetch(torch.arange(IMAGES))
    )
    low, high = band(IMAGES, IMAGES * 2 // 3)
    assert low <= np.mean(~found["valid"]) <= high
    assert low <= np.mean(found["p_value"] <= RATE) <= high


def test_the_float32_threshold_gives_int8_other_verdicts(written: Written) -> None:
    found = run(written.folder / "model.int8.onnx", written.images.fetch(torch.arange(IMAGES)))
    assert (~found["valid"]).sum() != (found["score"] > written.manifest.threshold).sum()
    detector = written.guarded.detector
    discrepancy, label = (torch.from_numpy(found[f]) for f in ("discrepancy", "label"))
    with torch.no_grad():
        moved = detector.joint(discrepancy, label).numpy() - found["score"]
    assert np.abs(moved).max() > 0.01 * found["score"].std()


def test_a_verdict_is_given_by_the_precision_that_is_asked_for(
    written: Written, tmp_path: Path
) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(written.images.pixels[0].permute(1, 2, 0).numpy()).save(path)
    for precision in ("float32", *RUN_HERE):
        ((_, verdict),) = check_files(written.folder, [path], precision=precision)
        file, threshold = written.manifest.graph(precision)
        expected = run(written.folder / file, written.images.fetch(torch.arange(1)))
        assert verdict.score == pytest.approx(float(expected["score"][0]), rel=1e-4)
        assert verdict.threshold == pytest.approx(threshold)


def test_labels_that_agree_too_seldom_fail_the_export(written: Written, tmp_path: Path) -> None:
    shutil.copy(written.folder / "model.onnx", tmp_path)
    share = written.manifest.variants["int8"].same_labels
    assert share < 1
    with pytest.raises(CornerguardError, match=r"model.int8.onnx: labels agree .* leave int8 out"):
        write(written.guarded, "int8", tmp_path, written, least_agreement=1.0)


def write(
    guarded: GuardedClassifier, precision: Any, folder: Path, of: Written, **kept: Any
) -> None:
    images = of.images.fetch(torch.arange(100))
    settings = ExportSettings(**kept)
    write_variant(guarded, precision, folder, images, again(of.calibration), {}, settings)


class Loud(nn.Module):
    """Activations near a million, which float16 does not reach."""

    def __init__(self) -> None:
        super().__init__()
        self.loud = nn.Conv2d(3, 3, 1, bias=False)
        nn.init.eye_(self.loud.weight.data.view(3, 3)).mul_(1e6)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.loud(images).mean((2, 3)) / 1e6


class Wide(nn.Module):
    """Multiplies with a matrix that it makes in float32."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, ::700] @ torch.eye(5)


@pytest.mark.parametrize(
    ("model", "layer", "message"),
    [
        (Loud, "loud", r"model.float16.onnx: calibration: a score is not finite.*leave float16"),
        (Wide, "input", "the model does not run in float16: .*leave float16 out"),
    ],
)
def test_a_model_that_float16_does_not_suit_is_named(
    written: Written, tmp_path: Path, model: type[nn.Module], layer: str, message: str
) -> None:
    made = model().eval()
    settings = SETTINGS.model_copy(update={"layers": (layer,), "joint": "sum"})
    with torch.no_grad():
        logits = made(written.images.fetch(torch.arange(IMAGES)))
    classes = CLASSES[: logits.shape[1]]
    images = ArrayImages(written.images.pixels, logits.argmax(1), classes)
    detector = fit_deep_validation(made, images, images, settings, 0)
    with pytest.raises(CornerguardError, match=message):
        write(GuardedClassifier(made, detector).eval(), "float16", tmp_path, written)


def test_a_precision_without_calibration_images_is_refused(
    written: Written, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="precisions: int8 needs calibration images"):
        export_bundle(
            written.guarded,
            tmp_path / "b",
            class_names=CLASSES,
            images=written.images,
            data_fingerprint="f" * 64,
            settings=ExportSettings(precisions=("int8",)),
        )
    assert not list(tmp_path.iterdir())
