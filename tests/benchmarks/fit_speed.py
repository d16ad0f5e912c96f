"""How much faster one-class SVMs are fitted than by scikit-learn, and whether they are as good.

    python -m tests.benchmarks.fit_speed [--dataset mnist --data PATH] [--weights FILE]
        [--per-class N] [--repeats 5] [--thesis-classes 2] [--save FILE]

Measured at N images per class and at 4 N (suffix `_4n`), or as many as there are: `rows`, in all.
The thesis gives each layer's activations, flattened, to scikit-learn's OneClassSVM: its time over
ours, scaling included, is `speedup`. `speedup_same_features` is of the solving alone, on the very
same scaled features; `speedup_same_features_prepared` counts the scaling on both sides. All have
the same rows and as many joblib threads; nobody pays for running the network. Ways take turns, and
speedups are of median wall-clock seconds, beside them of CPU seconds (`_cpu`). The thesis's way is
timed once; at 4 N, where it takes minutes, on `thesis_classes` classes, and its time is scaled.

Areas under the curve are of corner cases among clean test images. `auc_ours` and
`auc_same_features` differ only in who solved the SVMs; both leave out the energy, which would hide
a difference. `auc_sklearn` is the thesis's way, with its plain sum, and is measured at N.
`objective_error` is the largest relative difference of the dual objectives.
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits
from torch import nn

from guard.deep_validation import DeepValidation
from guard.guarded import GuardedClassifier
from guard.one_class_svm import OneClassSVMs, Solution
from guard.probes import ENERGY
from guard.storage import write_json
from guard.validators import Validator
from offline.corner_cases import CornerCaseSettings, find_corner_cases, seed_images
from offline.evaluation.detection import roc_auc
from offline.fitting import FitSettings, calibrate
from offline.fitting.features import Features, collect_features
from offline.fitting.scaling import fit_scaling
from offline.fitting.solver import solve
from offline.fitting.svms import fit_svms
from tests.benchmarks.provenance import provenance
from tests.benchmarks.subjects import Dataset, Subject, open_subject
from tests.benchmarks.thesis_way import Fits, Images, by_sklearn, flattened, objective, thesis_area

__all__ = ["benchmark"]

PER_CLASS = {"mnist": 1500, "cifar10": 1000, "digits": 20}
CLEAN = 1000
GAMMA, NU = 2.0, 0.05
SPEEDUPS = {
    # name: the slow way, the fast one
    "speedup": ("thesis", "ours"),
    "speedup_same_features": ("sklearn", "solver"),
    "speedup_same_features_prepared": ("sklearn_prepared", "ours"),
}


class Times(NamedTuple):
    """Seconds: wall-clock over the repetitions, and the median of all threads' CPU time."""

    median: float
    least: float
    most: float
    cpu: float


def main(
    dataset: Annotated[Dataset, typer.Option()] = "digits",
    data: Path | None = None,
    weights: Path | None = None,
    per_class: int | None = None,
    repeats: Annotated[int, typer.Option(min=1)] = 5,
    thesis_classes: Annotated[int, typer.Option(min=1)] = 2,
    save: Path | None = None,
) -> None:
    """Run the benchmark, print its figures, and write them to `save`."""
    subject, count = open_subject(dataset, data, weights), per_class or PER_CLASS[dataset]
    figures = benchmark(subject, count, repeats, thesis_classes)
    whole = {"dataset": dataset, **provenance(), **figures}
    if save is not None:
        write_json(save, whole)
    print(json.dumps(whole, allow_nan=False))


def benchmark(subject: Subject, count: int, repeats: int, thesis_classes: int) -> dict[str, Any]:
    """Measure a subject at `count` and four times as many images per class; see above."""
    images, classes = _images(subject), len(subject.data.train.classes)
    small = _measure(subject, images, count, repeats, classes)
    large = _measure(subject, images, 4 * count, repeats, min(classes, thesis_classes))
    return {
        "per_class": count,
        "repeats": repeats,
        "thesis_classes_4n": thesis_classes,
        "images": {"clean": len(images.clean), "corner": len(images.corner)},
        **small,
        **{f"{name}_4n": value for name, value in large.items()},
    }


def _images(subject: Subject) -> Images:
    seeds = seed_images(subject.model, subject.data.test, 200, 0)
    found = find_corner_cases(subject.model, seeds, CornerCaseSettings())
    others = torch.ones(len(subject.data.test), dtype=torch.bool)
    others[seeds.indices] = False
    clean = subject.data.test.fetch(torch.nonzero(others).flatten()[:CLEAN])
    return Images(clean, torch.cat([cases.images[cases.succeeded] for cases in found.kept]))


def _measure(
    subject: Subject, images: Images, count: int, repeats: int, thesis_classes: int
) -> dict[str, Any]:
    layers = tuple(name for name in subject.fit.layers if name != ENERGY)
    settings = subject.fit.model_copy(
        update={"layers": layers, "max_per_class": count, "gamma": GAMMA, "nu": NU}
    )
    with TemporaryDirectory() as folder:
        train, classes = subject.data.train, len(subject.data.train.classes)
        ours = collect_features(subject.model, train, layers, settings, 0, Path(folder))
        scalings, rows, gammas = _prepared(ours, settings)
        exact = [[table.astype(np.float64) for table in tables] for tables in rows]
        ways: dict[str, Callable[[], Any]] = {
            "ours": lambda: fit_svms(ours, [fit_scaling(o, settings) for o in ours], settings),
            "solver": lambda: _fits(solve, rows, settings.nu, gammas),
            "sklearn": lambda: _fits(by_sklearn, exact, settings.nu, gammas),
            "sklearn_prepared": lambda: _prepared_fits(ours, settings),
        }
        seconds, fits = _interleaved(ways, repeats)
        flat = flattened(subject, layers, count, range(thesis_classes))
        automatic = ["scale"] * len(layers)
        thesis = {"thesis": lambda: _fits(by_sklearn, flat, settings.nu, automatic)}
        thesis_seconds, thesis_fits = _interleaved(thesis, 1)
        scale = classes / thesis_classes
        seconds["thesis"] = Times(*(scale * value for value in thesis_seconds["thesis"]))
        areas = {
            name: _area(subject, settings, images, ours, scalings, fits[way])
            for name, way in (("auc_ours", "solver"), ("auc_same_features", "sklearn"))
        }
        if thesis_classes == classes:
            areas["auc_sklearn"] = thesis_area(subject, layers, images, thesis_fits["thesis"])
    return {
        "rows": int(ours[0].counts.sum()),
        **{
            name: round(seconds[slow].median / seconds[fast].median, 2)
            for name, (slow, fast) in SPEEDUPS.items()
        },
        **{
            f"{name}_cpu": round(seconds[slow].cpu / seconds[fast].cpu, 2)
            for name, (slow, fast) in SPEEDUPS.items()
        },
        "seconds": {
            name: {part: round(value, 3) for part, value in times._asdict().items()}
            for name, times in seconds.items()
        },
        **areas,
        "objective_error": max(
            abs(objective(one) / objective(other) - 1)
            for pair in zip(fits["solver"], fits["sklearn"], strict=True)
            for one, other in zip(*pair, strict=True)
        ),
    }


def _prepared(
    layers: Sequence[Features], settings: FitSettings
) -> tuple[list[nn.Module], list[list[np.ndarray]], list[float]]:
    """Return the scalings, the scaled rows and the gammas of all layers."""
    scalings: list[Any] = [fit_scaling(one, settings) for one in layers]
    rows = [
        [
            scaling(torch.from_numpy(np.array(one.of_class(label)))).numpy()
            for label in range(len(one.counts))
        ]
        for scaling, one in zip(scalings, layers, strict=True)
    ]
    variances = [np.concatenate(tables).var(axis=0, dtype=np.float64).sum() for tables in rows]
    return scalings, rows, [settings.gamma / float(variance) for variance in variances]


def _prepared_fits(layers: Sequence[Features], settings: FitSettings) -> Fits:
    _, rows, gammas = _prepared(layers, settings)
    return _fits(by_sklearn, rows, settings.nu, gammas)


def _fits(
    way: Callable[[np.ndarray, float, Any], Solution],
    rows: Sequence[Sequence[np.ndarray]],
    nu: float,
    gammas: Sequence[Any],
) -> Fits:
    solved = Parallel(n_jobs=-1, prefer="threads")(
        delayed(way)(table, nu, gamma)
        for tables, gamma in zip(rows, gammas, strict=True)
        for table in tables
    )
    classes = len(rows[0])
    return [solved[start : start + classes] for start in range(0, len(solved), classes)]


def _interleaved(
    ways: dict[str, Callable[[], Any]], repeats: int
) -> tuple[dict[str, Times], dict[str, Any]]:
    """Time every way in turn, and return the last result of each. BLAS gets one thread a task."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    results: dict[str, Any] = {}
    with threadpool_limits(1):
        for _ in range(repeats):
            for name, way in ways.items():
                start = time.perf_counter(), time.process_time()
                results[name] = way()
                taken[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return {name: _times(pairs) for name, pairs in taken.items()}, results


def _times(pairs: Sequence[tuple[float, float]]) -> Times:
    wall, cpu = zip(*pairs, strict=True)
    return Times(statistics.median(wall), min(wall), max(wall), statistics.median(cpu))


def _area(
    subject: Subject,
    settings: FitSettings,
    images: Images,
    layers: Sequence[Features],
    scalings: Sequence[Any],
    fits: Fits,
) -> float | None:
    validators = [
        Validator(name, one.reduction, scaling, OneClassSVMs.from_solutions(solutions))
        for name, one, scaling, solutions in zip(
            settings.layers, layers, scalings, fits, strict=True
        )
    ]
    detector = DeepValidation(validators)
    calibrate(subject.model, detector, subject.data.calibration, settings, 0)
    guarded = GuardedClassifier(subject.model, detector.eval()).eval()
    with torch.no_grad():
        clean, corner = (
            torch.cat([guarded(part).score for part in every.split(100)]) for every in images
        )
    return roc_auc(clean.numpy(), corner.numpy())


if __name__ == "__main__":
    typer.run(main)
