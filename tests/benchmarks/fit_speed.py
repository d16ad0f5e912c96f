"""How much faster Deep Validation fits than the thesis's way, and what that does to detection.

The thesis gives each layer's raw activations, flattened, to scikit-learn's OneClassSVM, one class
after the other. Here the clock runs over the same images: scaling and SVMs of the reduced features
against those fits. Neither side pays for running the network. `speedup_same_features` sets our
fitting, with all its threads, against one scikit-learn fit after the other on our features.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score
from sklearn.svm import OneClassSVM
from torch import Tensor, nn

from guard.guarded import GuardedClassifier
from guard.storage import write_json
from offline.corner_cases import CornerCaseSettings, find_corner_cases, seed_images
from offline.datasets import ImageSet, Subset
from offline.fitting import FitSettings, fit_deep_validation
from offline.fitting.features import Features, activations_of, collect_features
from offline.fitting.scaling import fit_scaling
from offline.fitting.svms import fit_svms
from offline.networks import seven_layer_cnn
from offline.torchvision_sets import torchvision_set
from tests.benchmarks.provenance import provenance

LAYERS = ("input", "conv1", "conv2", "conv3", "conv4", "dense1", "dense2")
NU = 0.05
Machines = list[list[OneClassSVM]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/mnist"))
    parser.add_argument("--weights", type=Path, default=Path("runs/mnist/train/model.safetensors"))
    parser.add_argument("--per-class", type=int, default=100, help="n; 4n is measured as well")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--save", type=Path)
    chosen = parser.parse_args()
    model = seven_layer_cnn()
    model.load_state_dict(load_file(chosen.weights))
    model.eval()
    train, test = (torchvision_set("MNIST", chosen.data, train=part) for part in (True, False))
    seeds = seed_images(model, test, 200, 0)
    search = find_corner_cases(model, seeds, CornerCaseSettings())
    strange = torch.cat([cases.images[cases.succeeded] for cases in search.kept])
    images = torch.cat([seeds.images, strange])
    truth = np.arange(len(images)) >= len(seeds.images)
    # Calibration must not see the images that detection is measured on.
    apart = torch.ones(len(test), dtype=torch.bool)
    apart[seeds.indices] = False
    calibration = Subset(test, apart.nonzero().flatten())
    result: dict[str, Any] = {
        **provenance(),
        "per_class": chosen.per_class,
        "repeats": chosen.repeats,
    }
    for suffix, count in (("", chosen.per_class), ("_4n", 4 * chosen.per_class)):
        figures = _measure(model, train, calibration, images, truth, count, chosen.repeats)
        result |= {name + suffix: value for name, value in figures.items()}
    if chosen.save is not None:
        write_json(chosen.save, result)
    print(json.dumps(result))


def _measure(
    model: nn.Module,
    train: ImageSet,
    calibration: ImageSet,
    images: Tensor,
    truth: np.ndarray,
    count: int,
    repeats: int,
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    settings = FitSettings(layers=LAYERS, nu=NU, max_per_class=count)
    with TemporaryDirectory() as folder:
        ours, raw = (
            _collect(model, train, settings.model_copy(update={"reduction": kind}), folder)
            for kind in (settings.reduction, "flatten")
        )
        scalings = [fit_scaling(one, settings) for one in ours]
        plain = [nn.Identity()] * len(raw)
        machines: list[Machines] = []
        ways: dict[str, Callable[[], object]] = {
            "ours": lambda: fit_svms(ours, [fit_scaling(o, settings) for o in ours], settings),
            "svms": lambda: fit_svms(ours, scalings, settings),
            "same": lambda: _scikit_learn(ours, scalings, settings.gamma),
            "raw": lambda: machines.append(_scikit_learn(raw, plain, None)),
        }
        seconds = _interleaved(ways, repeats)
    for name, slow, fast in (
        ("speedup", "raw", "ours"),
        ("speedup_same_features", "same", "svms"),
    ):
        ratios = [a / b for a, b in zip(seconds[slow], seconds[fast], strict=True)]
        result[name] = round(statistics.median(ratios), 2)
        result[f"{name}_spread"] = [round(min(ratios), 2), round(max(ratios), 2)]
    detector = fit_deep_validation(model, train, calibration, settings, 0)
    with torch.no_grad():
        score = torch.cat([GuardedClassifier(model, detector)(x).score for x in images.split(99)])
    result["auc_ours"] = round(float(roc_auc_score(truth, score)), 4)
    raw_score = _thesis_score(model, images, machines[0])
    result["auc_sklearn"] = round(float(roc_auc_score(truth, raw_score)), 4)
    return result


def _collect(
    model: nn.Module, train: ImageSet, settings: FitSettings, folder: str
) -> list[Features]:
    place = Path(folder) / settings.reduction
    place.mkdir()
    return collect_features(model, train, LAYERS, settings, 0, place)


def _rows(features: Features, scaling: nn.Module) -> list[np.ndarray]:
    tables = (features.of_class(label) for label in range(len(features.counts)))
    return [scaling(torch.from_numpy(np.array(table))).double().numpy() for table in tables]


def _variance(tables: Sequence[np.ndarray]) -> float:
    return float(np.concatenate(tables).var(axis=0).sum())


def _scikit_learn(
    features: Sequence[Features], scalings: Sequence[nn.Module], factor: float | None
) -> Machines:
    """Fit one machine after the other; without a factor, gamma is scikit-learn's."""
    fitted = []
    for one, scaling in zip(features, scalings, strict=True):
        tables = _rows(one, scaling)
        gamma = "scale" if factor is None else factor / _variance(tables)
        fitted.append([OneClassSVM(nu=NU, gamma=gamma).fit(rows) for rows in tables])
    return fitted


def _interleaved(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def _thesis_score(model: nn.Module, images: Tensor, machines: Machines) -> np.ndarray:
    """Sum minus the signed distances of all layers, without weights (equation 3.3)."""
    scores = []
    for piece in images.split(100):
        seen, labels = activations_of(model, piece, LAYERS, 10)
        score = np.zeros(len(piece))
        for layer, of_layer in zip(LAYERS, machines, strict=True):
            rows = seen[layer].flatten(1).double().numpy()
            for label in labels.unique().tolist():
                mine = (labels == label).numpy()
                score[mine] -= _distance(of_layer[label], rows[mine])
        scores.append(score)
    return np.concatenate(scores)


def _distance(machine: OneClassSVM, rows: np.ndarray) -> np.ndarray:
    vectors, dual = machine.support_vectors_, machine.dual_coef_[0]
    near = [_kernel(points, vectors, machine._gamma) for points in (rows, vectors)]
    return np.asarray((near[0] @ dual - machine.offset_[0]) / np.sqrt(dual @ near[1] @ dual))


def _kernel(left: np.ndarray, right: np.ndarray, gamma: float) -> np.ndarray:
    squares = np.square(left).sum(1)[:, None] + np.square(right).sum(1) - 2 * left @ right.T
    return np.asarray(np.exp(-gamma * squares.clip(min=0)))


if __name__ == "__main__":
    main()
