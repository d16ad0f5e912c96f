"""Graphs that take images of any size say what the module says of them; weights may lie apart."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export_samples import CLASSES, FEW, fitted
from torchvision.transforms.functional import resize

from export import Calibration, ExportSettings, export_bundle, onnx_graph
from export.image_size import sized
from export.runners import program_runner, torchscript_runner
from guard.bundle import load_bundle
from guard.errors import BadBundle, BadInput
from guard.guarded import GuardedClassifier, GuardedOutput
from offline.datasets import ArrayImages
from offline.fitting import calibrate_on
from offline.networks import seven_layer_cnn, small_resnet

SIZES = ((32, 32), (41, 64), (29, 24), (100, 33))
COMPARED = GuardedOutput._fields


class Fitted(NamedTuple):
    guarded: GuardedClassifier
    images: ArrayImages


@pytest.fixture(scope="module")
def made() -> Fitted:
    torch.manual_seed(0)
    return Fitted(*fitted(small_resnet(5, width=4), (3, 32, 32), FEW))


def written(made: Fitted, folder: Path, settings: ExportSettings) -> Path:
    rule = partial(calibrate_on, classes=CLASSES, settings=FEW, seed=0)
    export_bundle(
        made.guarded,
        folder,
        class_names=CLASSES,
        images=made.images,
        data_fingerprint="f" * 64,
        settings=settings,
        calibration=Calibration(made.images, rule),
    )
    return folder


def run(path: Path, images: torch.Tensor) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options)
    values = session.run(None, {"images": images.numpy()})
    return dict(zip(COMPARED, values, strict=True))


def require_same(found: dict[str, np.ndarray], expected: GuardedOutput) -> None:
    for field in COMPARED:
        wanted = getattr(expected, field).numpy()
        # The images are the calibration images: rounding decides whether one counts itself.
        near = 0.01 if field == "p_value" else 1e-3
        np.testing.assert_allclose(found[field], wanted, rtol=1e-3, atol=near, err_msg=field)


@pytest.mark.parametrize("image_size", ["any", "resized"])
def test_every_file_takes_images_of_any_size(made: Fitted, tmp_path: Path, image_size: str) -> None:
    settings = ExportSettings(
        image_size=image_size, formats=("torchscript", "torch_export"), precisions=("float16",)
    )
    folder = written(made, tmp_path / "bundle", settings)
    manifest = load_bundle(folder).manifest
    assert manifest.input_shape == (3, None, None)
    assert manifest.calibrated_size == (32, 32)
    shape = onnx.load(folder / "model.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [side.dim_param or side.dim_value for side in shape] == ["batch", 3, "height", "width"]
    threshold = made.guarded.detector.threshold
    others = (
        torchscript_runner(folder / "model.ts", threshold),
        program_runner(folder / "model.pt2", threshold),
    )
    for size in SIZES:
        images = resize(made.images.fetch(torch.arange(3)), list(size), antialias=True)
        # torchvision's resizing, and the model and detector as they were before any export.
        seen = resize(images, [32, 32], antialias=True) if image_size == "resized" else images
        with torch.no_grad():
            expected = made.guarded(seen)
            require_same(run(folder / "model.onnx", images), expected)
            for other in others:
                require_same(dict(zip(COMPARED, other(images), strict=True)), expected)
        half = run(folder / "model.float16.onnx", images)["logits"]
        assert np.abs(half - expected.logits.numpy()).max() < 0.02 * float(expected.logits.std())


def test_an_image_of_the_calibrated_size_is_left_as_it_is(made: Fitted) -> None:
    images = made.images.fetch(torch.arange(20))
    with torch.no_grad():
        ours = made.guarded(images)
        resized = sized(made.guarded, "resized", (32, 32))(images)
    for one, other in zip(ours, resized, strict=True):
        assert torch.equal(one, other)


def test_a_model_of_one_size_is_refused_any_other(tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = FEW.model_copy(update={"layers": ("conv4",)})
    flat = Fitted(*fitted(seven_layer_cnn(5), (1, 28, 28), settings))
    message = (
        r"image_size: any: the model takes 28x28 images, not 42x35 ones: .*`resized` is wanted"
    )
    with pytest.raises(BadInput, match=message):
        written(flat, tmp_path / "bundle", ExportSettings(image_size="any"))
    assert not list(tmp_path.iterdir())


def test_weights_above_the_limit_of_one_file_lie_beside_it_and_are_summed(
    made: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graph, "SINGLE_FILE_BYTES", 10_000)
    settings = ExportSettings(precisions=("int8",), least_agreement=0.5)
    folder = written(made, tmp_path / "bundle", settings)
    graphs = {"model.onnx", "model.int8.onnx"}
    assert set(load_bundle(folder).manifest.files) == graphs | {f"{name}.data" for name in graphs}
    for name in graphs:
        outside = onnx.load(folder / name, load_external_data=False).graph.initializer
        large = [tensor for tensor in outside if tensor.data_location == tensor.EXTERNAL]
        assert sum(len(tensor.raw_data) for tensor in outside) < 10_000
        assert {entry.value for tensor in large for entry in tensor.external_data[:1]} == {
            f"{name}.data"
        }
        weights = sum(len(tensor.raw_data) for tensor in onnx.load(folder / name).graph.initializer)
        assert weights > 10_000
        assert (folder / f"{name}.data").stat().st_size < weights * 1.1 + 65536
    images = made.images.fetch(torch.arange(20))
    with torch.no_grad():
        require_same(run(folder / "model.onnx", images), made.guarded(images))
    run(folder / "model.int8.onnx", images)
    data = folder / "model.onnx.data"
    whole = data.read_bytes()
    data.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BadBundle, match=r"model.onnx.data: is altered"):
        load_bundle(folder)
