"""An error is never a pass: the rules, the engine that applies them, and the local check."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.external_data_helper import set_external_data
from PIL import Image

from guard.bundle import load_bundle, seal_bundle
from guard.errors import BadBundle, BadInput
from guard.serving.engine import Engine
from guard.serving.graph import read_graph
from guard.serving.local import check_files
from guard.serving.verdict import VERDICTS, Outputs, Verdict, judge
from tests.unit.serving.tiny_bundle import CLASSES, LAYERS, expected_score, image_of, write_bundle


def outputs(**changes: object) -> Outputs:
    """Return one image's outputs that are VALID at threshold 1, with `changes`."""
    values = {
        "logits": np.array([[0.0, 2.0, 1.0]], np.float32),
        "label": np.array([1]),
        "discrepancy": np.array([[0.25, 0.25]], np.float32),
        "score": np.array([0.5], np.float32),
        "p_value": np.array([0.5], np.float32),
        "valid": np.array([True]),
    }
    for name, value in changes.items():
        values[name] = np.array(value, values[name].dtype)
    return Outputs(**values)


def test_valid_up_to_the_threshold_and_no_further() -> None:
    assert VERDICTS[judge(outputs(), 1.0).verdict[0]] == "VALID"
    assert VERDICTS[judge(outputs(), 0.5).verdict[0]] == "VALID"
    below = judge(outputs(valid=[False]), 0.49)
    assert VERDICTS[below.verdict[0]] == "CORNER_CASE"
    assert below.reason(0) == ""


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("logits", lambda x: [[0, x, 1]]),
        ("discrepancy", lambda x: [[0.25, x]]),
        ("score", lambda x: [x]),
        ("p_value", lambda x: [x]),
    ],
)
@pytest.mark.parametrize("valid", [True, False])
def test_what_is_not_finite_is_unverified(bad: float, name: str, wrap, valid: bool) -> None:
    judged = judge(outputs(**{name: wrap(bad)}, valid=[valid]), 1.0)
    assert VERDICTS[judged.verdict[0]] == "UNVERIFIED"
    assert not judged.outputs.valid[0]
    assert judged.reason(0) == f"not finite: {name}"


@pytest.mark.parametrize(
    "changes",
    [{"valid": [False]}, {"score": [1.5]}, {"label": [3]}, {"label": [-1]}],
    ids=["invalid-below", "valid-above", "label-high", "label-low"],
)
def test_a_graph_that_contradicts_itself_is_unverified(changes: dict[str, object]) -> None:
    judged = judge(outputs(**changes), 1.0)
    assert VERDICTS[judged.verdict[0]] == "UNVERIFIED"
    assert not judged.outputs.valid[0]
    assert judged.reason(0) == "the graph contradicts itself"


def test_verdicts_are_per_image() -> None:
    two = [
        np.concatenate([a, b])
        for a, b in zip(
            vars(outputs()).values(), vars(outputs(score=[np.nan])).values(), strict=True
        )
    ]
    judged = judge(Outputs(*two), 1.0)
    assert [VERDICTS[code] for code in judged.verdict] == ["VALID", "UNVERIFIED"]
    assert judged.part(1, 2).reason(0) == "not finite: score"


def test_gathered_verdict() -> None:
    verdict = Verdict.of(judge(outputs(), 1.0), 0, CLASSES, LAYERS)
    powers = np.exp([0, 2, 1])
    assert (verdict.verdict, verdict.label, verdict.class_name) == ("VALID", 1, "green")
    assert verdict.confidence == pytest.approx(powers[1] / powers.sum())
    assert verdict.discrepancy == {"early": 0.25, "late": 0.25}
    broken = Verdict.of(judge(outputs(logits=[[0, np.inf, 0]]), 1.0), 0, CLASSES, LAYERS)
    assert np.isnan(broken.confidence)
    assert json.loads(json.dumps(broken.to_json(), allow_nan=False))["confidence"] is None


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def engine(bundle: Path) -> Engine:
    loaded = load_bundle(bundle)
    return Engine(read_graph(loaded), threads=1)


def test_engine_matches_the_graph_by_hand(engine: Engine) -> None:
    images = np.stack([image_of(level) for level in (0.2, 0.5, 0.8, 0.85)])
    judged = engine.run(images, 0.0)
    np.testing.assert_allclose(judged.outputs.score, expected_score(images), atol=1e-5)
    assert [VERDICTS[code] for code in judged.verdict] == ["VALID"] * 2 + ["CORNER_CASE"] * 2
    lenient = engine.run(images, 10.0)
    assert lenient.threshold == 10.0
    assert lenient.outputs.valid.all()


def test_nan_from_the_detector_is_unverified(engine: Engine) -> None:
    judged = engine.run(np.stack([image_of(0.95), image_of(0.5)]), 10.0)
    assert [VERDICTS[code] for code in judged.verdict] == ["UNVERIFIED", "VALID"]


def test_a_failed_run_leaves_every_image_unverified(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    judged = engine.run(np.stack([image_of(0.5), image_of(0.0)]), 10.0)
    assert [VERDICTS[code] for code in judged.verdict] == ["UNVERIFIED"] * 2
    assert not judged.outputs.valid.any()
    assert np.isnan(judged.outputs.score).all()
    assert "Gather" in judged.reason(1)
    assert "2 images failed" in caplog.text


def test_a_graph_that_does_not_load_is_a_bad_bundle(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"not a graph")
    seal_bundle(folder, load_bundle(bundle).manifest)
    with pytest.raises(BadBundle, match="does not load"):
        Engine(read_graph(load_bundle(folder)))


def test_a_graph_without_the_detectors_outputs_is_a_bad_bundle(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "tiny", outputs=("logits", "label"))
    with pytest.raises(BadBundle, match="no output discrepancy, p_value, score, valid"):
        Engine(read_graph(load_bundle(folder)))


def test_weights_in_a_file_apart_are_loaded_from_what_was_verified(
    bundle: Path, tmp_path: Path
) -> None:
    """As graphs above 2 GiB have them."""
    folder = tmp_path / "large"
    folder.mkdir()
    loaded = load_bundle(bundle)
    graph = onnx.load(str(loaded.onnx_path()))
    for tensor in graph.graph.initializer:
        if tensor.name in ("ten", "four", "half"):
            set_external_data(tensor, "model.onnx.data")
    onnx.save(graph, folder / "model.onnx")
    assert (folder / "model.onnx.data").stat().st_size >= 12
    seal_bundle(folder, loaded.manifest)
    copied = read_graph(load_bundle(folder))
    for file in folder.iterdir():
        file.unlink()
    images = np.stack([image_of(level) for level in (0.2, 0.8)])
    judged = Engine(copied, threads=1).run(images, 0.0)
    np.testing.assert_allclose(judged.outputs.score, expected_score(images), atol=1e-5)


def test_threshold_default_is_the_graphs_own(bundle: Path) -> None:
    """What the engine passes is what the graph would have used."""
    loaded = load_bundle(bundle)
    session = onnxruntime.InferenceSession(str(loaded.onnx_path()))
    images = image_of(0.8)[np.newaxis]
    (score, valid) = session.run(["score", "valid"], {"images": images})
    assert valid[0] == (score[0] <= loaded.manifest.threshold)


def test_local_check(bundle: Path, tmp_path: Path) -> None:
    paths = []
    for level in (0.2, 0.8, 1.0, 0.0):
        pixels = (image_of(level).transpose(1, 2, 0) * 255).round().astype(np.uint8)
        paths.append(tmp_path / f"{level}.png")
        Image.fromarray(pixels).save(paths[-1])
    checked = list(check_files(bundle, paths))
    assert [path for path, _ in checked] == paths
    verdicts = [verdict.verdict for _, verdict in checked]
    assert verdicts == ["VALID", "CORNER_CASE", "UNVERIFIED", "UNVERIFIED"]
    assert next(check_files(bundle, paths[1:], threshold=5.0))[1].verdict == "VALID"
    with pytest.raises(BadInput, match=r"missing\.png: cannot be read: No such file"):
        list(check_files(bundle, [tmp_path / "missing.png"]))
