"""How well corner cases are told from clean images, beside every peer: Tables 3.6 and 3.7.

    python -m tests.benchmarks.detection --dataset mnist|digits|cifar10 [--data PATH]
        [--weights FILE] [--seeds 3] [--save FILE]

All detectors get the same model, the same seed images and corner cases, and the same negatives: the
clean test images that are not seed images. Positives are the successful corner cases. The model and
its calibration set stay; a seed draws the seed images, what the detectors are fitted to and how the
calibration set is parted. The last line is one JSON object: means over the seeds, with the standard
deviations (of a sample) under `deviation`.
"""

import json
import statistics
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, get_args

import numpy as np
import torch
import typer

from guard.errors import CornerguardError
from guard.guarded import GuardedClassifier
from guard.storage import write_json
from offline.corner_cases import CornerCases, CornerCaseSettings, find_corner_cases, seed_images
from offline.corner_cases.transformations import Border
from offline.datasets import Subset, batches
from offline.evaluation.detection import Detection, evaluate_detection, roc_auc
from offline.evaluation.rates import false_alarm_band
from offline.evaluation.robustness import accuracy
from offline.fitting import fit_deep_validation
from offline.fitting.calibration import conformal_threshold
from tests.benchmarks.observation import BATCH, Parts, observe_training, parts_of
from tests.benchmarks.peers import LEFT_OUT, Fitted, fit_peers, peer_scores
from tests.benchmarks.provenance import provenance
from tests.benchmarks.subjects import Dataset, Subject, open_subject

__all__ = ["benchmark"]

RATES = (0.01, 0.03, 0.07)
TRAINING_IMAGES = 10_000
"""So many of the training images, at most, are what peers are fitted to."""

Found = dict[Border, tuple[CornerCases, ...]]


def main(
    dataset: Annotated[Dataset, typer.Option()],
    data: Path | None = None,
    weights: Path | None = None,
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    save: Path | None = None,
) -> None:
    """Run the benchmark, print its figures, and write them to `save`."""
    figures = benchmark(
        open_subject(dataset, data, weights), seeds, 100 if dataset == "digits" else 200
    )
    whole = {"dataset": dataset, **provenance(), **figures}
    if save is not None:
        write_json(save, whole)
    print(json.dumps(whole, allow_nan=False))


def benchmark(subject: Subject, seeds: int, images: int) -> dict[str, Any]:
    """Measure a subject with `images` seed images, once for each seed from 0; see above."""
    start = perf_counter()
    failed: dict[str, str] = {}
    runs = [_measure(subject, seed, images, failed) for seed in range(seeds)]
    mean, deviation = _over_seeds(runs)
    return {
        "seeds": seeds,
        "seed_images": images,
        "peer_training_images": min(TRAINING_IMAGES, len(subject.data.train)),
        "accuracy": accuracy(subject.model, subject.data.test).value,
        **mean,
        "best_peer": _best(mean["peers"]),
        "best_peer_reflect": _best(mean["peers_reflect"]),
        "peers_failed": failed,
        "peers_left_out": LEFT_OUT,
        "deviation": deviation,
        "wall_seconds": round(perf_counter() - start),
    }


def _measure(subject: Subject, seed: int, images: int, failed: dict[str, str]) -> dict[str, Any]:
    model, data = subject.model, subject.data
    seeds = seed_images(model, data.test, images, seed)
    kept = torch.ones(len(data.test), dtype=torch.bool)
    kept[seeds.indices] = False
    clean = Subset(data.test, torch.nonzero(kept).flatten())
    found: Found = {
        border: find_corner_cases(
            model, seeds, CornerCaseSettings(seeds=images, border=border)
        ).kept
        for border in get_args(Border)
    }
    if not all(any(case.succeeded.any() for case in cases) for cases in found.values()):
        raise CornerguardError("detection: no corner case fools the model, so there is no area")
    parts = parts_of(model)
    training = observe_training(parts, data.train, data.calibration, TRAINING_IMAGES, seed)
    fitted = fit_peers(parts, training)
    peers = _peers(fitted, parts, clean, found)
    failed |= fitted.failed
    return _own(subject, clean, found, seed) | {
        "peers": {name: areas["zeros"]["overall"] for name, areas in peers.items()},
        "peers_reflect": {name: areas["reflection"]["overall"] for name, areas in peers.items()},
        "peers_per_transformation": peers,
        "successful": {
            border: {case.name: int(case.succeeded.sum()) for case in cases}
            for border, cases in found.items()
        },
    }


def _own(subject: Subject, clean: Subset, found: Found, seed: int) -> dict[str, Any]:
    detector = fit_deep_validation(
        subject.model, subject.data.train, subject.data.calibration, subject.fit, seed
    )
    guarded = GuardedClassifier(subject.model, detector)
    measured = {
        border: evaluate_detection(
            guarded,
            clean,
            cases,
            layers=detector.layers,
            false_alarm_rate=detector.false_alarm_rate,
            calibration_size=len(detector.calibration),
        )
        for border, cases in found.items()
    }
    limits = {
        f"{rate:.0%}": float(conformal_threshold(detector.calibration, rate)) for rate in RATES
    }
    zeros, reflect = measured["zeros"], measured["reflection"]
    bands = {
        f"{rate:.0%}": list(false_alarm_band(rate, len(detector.calibration), len(clean)))
        for rate in RATES
    }
    return {
        "overall_auc": zeros.overall.auc,
        "overall_auc_reflect": reflect.overall.auc,
        "per_transformation": {
            border: {case.name: case.auc for case in detection.corner_cases}
            for border, detection in measured.items()
        },
        "single_validators": {
            border: dict(zip(detection.layers, detection.overall.auc_by_layer, strict=True))
            for border, detection in measured.items()
        },
        "realised_fpr": {
            name: float((zeros.clean_scores > limit).mean()) for name, limit in limits.items()
        },
        "fpr_band": bands,
        "tpr": {name: _detected(zeros, limit) for name, limit in limits.items()},
        "tpr_reflect": {name: _detected(reflect, limit) for name, limit in limits.items()},
    }


def _detected(detection: Detection, limit: float) -> float:
    return float((np.concatenate([*detection.successful_scores.values()]) > limit).mean())


def _peers(
    fitted: Fitted, parts: Parts, clean: Subset, found: Found
) -> dict[str, dict[Border, dict[str, float | None]]]:
    """Return the area under the ROC curve of each peer, border and transformation."""
    normal = peer_scores(fitted, parts, (images for images, _ in batches(clean, BATCH)))
    scored = {
        (border, case.name): peer_scores(fitted, parts, [case.images[case.succeeded]])
        for border, cases in found.items()
        for case in cases
    }
    areas: dict[str, dict[Border, dict[str, float | None]]] = {}
    for name in fitted.scorers:
        areas[name] = {}
        for border in found:
            groups = {kind: one[name] for (where, kind), one in scored.items() if where == border}
            groups["overall"] = np.concatenate([*groups.values()])
            areas[name][border] = {k: roc_auc(normal[name], v) for k, v in groups.items()}
    return areas


def _over_seeds(runs: list[Any]) -> tuple[Any, Any]:
    """Return the mean and the deviation of each number; what some seeds lack, over the others."""
    first = runs[0]
    if isinstance(first, dict):
        names = dict.fromkeys(name for run in runs for name in run)
        both = {name: _over_seeds([run[name] for run in runs if name in run]) for name in names}
        return {name: pair[0] for name, pair in both.items()}, {
            name: pair[1] for name, pair in both.items()
        }
    if isinstance(first, list):
        pairs = [_over_seeds(list(values)) for values in zip(*runs, strict=True)]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    numbers = [run for run in runs if run is not None]
    if not numbers:
        return None, None
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
    return round(statistics.fmean(numbers), 6), round(deviation, 6)


def _best(areas: dict[str, float]) -> dict[str, Any]:
    name = max(areas, key=lambda peer: areas[peer])
    return {"name": name, "auc": areas[name]}


if __name__ == "__main__":
    typer.run(main)
