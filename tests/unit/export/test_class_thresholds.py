"""Thresholds of each class in graphs of lower precision, worked out again in NumPy."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export_samples import CLASSES, FEW, fitted, noise
from onnx import numpy_helper
from torch import nn

from export import Calibration, ExportSettings, export_bundle
from guard.manifest import Manifest
from offline.datasets import ArrayImages
from offline.fitting import calibrate, calibrate_on
from offline.networks import Normalised, small_resnet

RATE, IMAGES, SEED = 0.1, 600, 3
SETTINGS = FEW.model_copy(update={"false_alarm_rate": RATE, "thresholds": "per_class"})
PRECISIONS = ("float16", "int8")


class Written(NamedTuple):
    calibration: ArrayImages
    images: ArrayImages
    folder: Path
    manifest: Manifest


class Rule(NamedTuple):
    """What calibration sets: [layer, class] twice, [layer], [class], and each class's scores."""

    shift: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    thresholds: np.ndarray
    clean: list[np.ndarray]

    def score(self, said: dict[str, np.ndarray]) -> np.ndarray:
        return joint(self, said["discrepancy"], said["label"]) - self.thresholds[said["label"]]


def said_by(model: nn.Module, seed: int) -> ArrayImages:
    pixels = noise((3, 32, 32), IMAGES, seed)
    with torch.no_grad():
        return ArrayImages(pixels, model(pixels.float() / 255).argmax(1), CLASSES)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    torch.manual_seed(0)
    model = Normalised(small_resnet(5, width=4), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    guarded, _ = fitted(model, (3, 32, 32), FEW)
    calibration, images = said_by(model, 1), said_by(model, 2)
    calibrate(model, guarded.detector, calibration, SETTINGS, SEED)
    again = partial(calibrate_on, classes=CLASSES, settings=SETTINGS, seed=SEED)
    folder = tmp_path_factory.mktemp("classes") / "bundle"
    manifest = export_bundle(
        guarded,
        folder,
        class_names=CLASSES,
        images=images,
        data_fingerprint="f" * 64,
        settings=ExportSettings(precisions=PRECISIONS, least_agreement=0.8),
        calibration=Calibration(calibration, again),
    )
    return Written(calibration, images, folder, manifest)


def run(path: Path, images: ArrayImages) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options)
    values = session.run(None, {"images": images.fetch(torch.arange(IMAGES)).numpy()})
    return dict(zip([output.name for output in session.get_outputs()], values, strict=True))


def joint(rule: Rule, discrepancy: np.ndarray, label: np.ndarray) -> np.ndarray:
    stretched = (discrepancy - rule.shift.T[label]) * rule.scale.T[label]
    return (np.arcsinh(stretched) * rule.weights).sum(1)


def rule_of(said: dict[str, np.ndarray], layers: tuple[str, ...]) -> Rule:
    """Calibrate on a graph's own discrepancies: a third sets the joint, the rest the thresholds."""
    order = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(SEED)).numpy()
    first, rest = order[: IMAGES // 3], order[IMAGES // 3 :]
    discrepancy, label = said["discrepancy"].astype(np.float64), said["label"]
    members = [first[label[first] == at] for at in range(len(CLASSES))]
    rows = [discrepancy[own if len(own) >= 20 else first] for own in members]
    middle, high = (np.stack([np.quantile(row, q, axis=0) for row in rows]).T for q in (0.5, 0.99))
    weights = np.array([np.sqrt(len(layers) - 1) if name == "energy" else 1 for name in layers])
    rule = Rule(middle, 1 / np.maximum(high - middle, 0.05), weights, np.zeros(5), [])
    scores = joint(rule, discrepancy[rest], label[rest])
    clean = [np.sort(scores[label[rest] == at]) for at in range(len(CLASSES))]
    ranks = [int(np.ceil((len(own) + 1) * (1 - RATE) - 1e-9)) for own in clean]
    thresholds = np.array([own[rank - 1] for own, rank in zip(clean, ranks, strict=True)])
    return rule._replace(thresholds=thresholds, clean=clean)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_verdicts_are_by_the_classes_own_thresholds(written: Written, precision: str) -> None:
    file, threshold = written.manifest.graph(precision)
    path, layers = written.folder / file, written.manifest.layer_names
    rule = rule_of(run(path, written.calibration), layers)
    said = run(path, written.images)
    score = rule.score(said)
    assert threshold == written.manifest.threshold == 0
    np.testing.assert_allclose(said["score"], score, rtol=1e-3, atol=1e-3)
    clear = np.abs(score) > 1e-3
    assert clear.mean() > 0.98
    assert (said["valid"] == (score <= 0))[clear].all()
    assert all((said["label"] == at).sum() > 20 for at in range(len(CLASSES)))
    # The thresholds of the float32 graph, or one for all classes, would judge otherwise.
    of_float32 = rule_of(run(written.folder / "model.onnx", written.calibration), layers)
    assert np.abs(rule.thresholds - of_float32.thresholds).max() > 1e-3
    assert np.ptp(rule.thresholds) > 0.1
    held = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    np.testing.assert_allclose(held["detector.offset"], rule.thresholds, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_p_value_is_among_the_clean_scores_of_its_class(written: Written, precision: str) -> None:
    path = written.folder / written.manifest.graph(precision)[0]
    rule = rule_of(run(path, written.calibration), written.manifest.layer_names)
    said = run(path, written.images)
    for at, own in enumerate(rule.clean):
        mine = said["label"] == at
        score = said["score"][mine] + rule.thresholds[at]
        least, most = (
            (1 + (own >= score[:, None] + slack).sum(1)) / (len(own) + 1) for slack in (1e-3, -1e-3)
        )
        found = said["p_value"][mine]
        assert ((least <= found + 1e-6) & (found <= most + 1e-6)).all()
        assert (most - least).mean() < 0.01
