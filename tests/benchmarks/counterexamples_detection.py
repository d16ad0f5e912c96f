"""How much semantic counterexamples cost a street detector, and what retraining wins back.

    python -m tests.benchmarks.counterexamples_detection [--train N] [--test N] [--seed S]

Tables 1 to 3 of 001 (7 and 8 of 000): the preset `squeezedet` on held-out streets, each feature
by itself and several together, then the detector tuned for a quarter of its epochs on its training
images, a quarter of them replaced by counterexamples, and on these counterexamples alone. Boxes
follow what moved. Streets and weights are kept in --folder. `--seed` draws the streets that judge:
the units of the features were chosen by looking at streets of other seeds. The last line is one
JSON object: mean average precision and recall at an IOU of 0.5, in percent.
"""

import copy
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from offline.counterexamples import preset
from offline.counterexamples.features import STREET_FEATURES
from offline.counterexamples.streets.detection import attack_detector
from offline.counterexamples.streets.detection_found import (
    DetectionCounterexamples,
    save_detection_counterexamples,
)
from offline.counterexamples.streets.feasible import street_sets, within_kerbs
from offline.detection import (
    DetectionImages,
    SqueezeDet,
    StreetImages,
    evaluate_detector,
    fit_shapes,
    train_detector,
    truths_of,
)
from offline.models import load_weights, save_weights
from tests.benchmarks.street_detector import (
    STREETS,
    TRAIN_SEED,
    TRAINING,
    WEIGHTS,
    open_streets,
    street_detector,
    trained_detector,
)

__all__: list[str] = []

MULTI = ("translate", "rotate", "mesh")
COMBINATIONS: tuple[tuple[str, ...], ...] = (
    ("translate", "rotate"),
    MULTI,
    ("translate", "mesh"),
    ("rotate", "mesh"),
    tuple(STREET_FEATURES),
)
"""The four of table 2, and all six features."""
REPLACED = 0.25
ANCHORS, ANCHOR_SEED = 7, 0
SCORES = ("map", "recall")


def main(
    train: Annotated[int, typer.Option(help="training images")] = 960,
    test: Annotated[int, typer.Option(help="held-out streets that are attacked")] = 50,
    seed: Annotated[int, typer.Option(help="of the held-out streets")] = 3,
    folder: Annotated[Path, typer.Option()] = Path("runs/benchmarks/streets"),
    weights: Annotated[Path | None, typer.Option(help="of the detector; trained without")] = None,
    pictures: Annotated[Path | None, typer.Option(help="where counterexamples are saved")] = None,
) -> None:
    """Measure and print."""
    start = time.perf_counter()
    images = open_streets(folder / f"train{train}", train, TRAIN_SEED)
    streets = open_streets(folder / f"test{test}-seed{seed}", test, seed)
    detector = _benign(images, folder, weights)
    results: dict[str, Any] = {"benign": _scores(detector, streets)}
    _say("benign", results["benign"])

    attacked: dict[str, DetectionCounterexamples] = {}
    attack_start = time.perf_counter()
    for names in [*((name,) for name in STREET_FEATURES), *COMBINATIONS]:
        key = "+".join(names) if len(names) < len(STREET_FEATURES) else "all"
        attacked[key] = _attacked(detector, streets, torch.arange(test), names)
        found = attacked[key]
        scores = _scores(detector, found.images(streets.classes))
        results[key] = scores | {"scenes_lost": int(found.success.sum())}
        _say(key, results[key])
        if pictures is not None:
            save_detection_counterexamples(pictures / key, found)
    seconds = (time.perf_counter() - attack_start) / (test * len(attacked))

    multi = "+".join(MULTI)
    judged = attacked[multi].images(streets.classes)
    for name, tuned in _retrained(detector, images).items():
        adaptive = _attacked(tuned, streets, torch.arange(test), MULTI)
        results[name] = {
            "benign": _scores(tuned, streets),
            "static": _scores(tuned, judged),
            "adaptive": _scores(tuned, adaptive.images(streets.classes)),
        }
        _say(name, results[name])

    singles = {name: results[name]["map"] for name in STREET_FEATURES}
    benign, lowest = results["benign"]["map"], min(singles.values())
    print(json.dumps({
        "map_benign": benign,
        "map_single_min": lowest,
        "map_multi": results[multi]["map"],
        "map_retrained": results["retrained"]["static"]["map"],
        "map_tuned": results["tuned"]["static"]["map"],
        "drop_single_max": round(benign - lowest, 1),
        "drop_multi": round(benign - results[multi]["map"], 1),
        "won_back": round(results["retrained"]["static"]["map"] - results[multi]["map"], 1),
        "seconds_per_counterexample": round(seconds, 2),
        "results": results,
        "train": train, "test": test, "seed": seed,
        "seconds": round(time.perf_counter() - start),
    }))  # fmt: skip


def _benign(images: StreetImages, folder: Path, weights: Path | None) -> SqueezeDet:
    """Return the detector with the weights given, those that are kept, or trained and cached."""
    made_from = f"{TRAINING.model_dump_json()} {images.fingerprint()}"
    digest = hashlib.sha256(made_from.encode()).hexdigest()
    cached = folder / f"squeezedet-{digest[:12]}.safetensors"
    kept = weights or (WEIGHTS if WEIGHTS.is_file() else cached)
    if kept == cached and not cached.is_file():
        save_weights(trained_detector(images, checkpoint=folder / "checkpoint"), cached)
    sizes = torch.cat([truth.boxes for truth in images.truths])
    detector = street_detector(fit_shapes(sizes, ANCHORS, ANCHOR_SEED))
    load_weights(detector, kept)
    return detector.eval()


def _retrained(detector: SqueezeDet, images: StreetImages) -> dict[str, SqueezeDet]:
    """Return the detector tuned with counterexamples of a quarter of the training images.

    `retrained` on all images with these in the place of theirs, `tuned` on these alone, each for a
    quarter of the epochs that the detector was trained for (000, appendix E.6: 6000 of 24000).
    """
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(TRAIN_SEED))
    chosen = order[: round(REPLACED * len(images))].sort().values
    found = _attacked(detector, images, chosen, MULTI).images(images.classes)
    pixels, truths = images.pixels.clone(), list(images.truths)
    pixels[chosen] = found.pixels
    for row, number in enumerate(chosen.tolist()):
        truths[number] = found.truths[row]
    mixed = DetectionImages(pixels, truths, images.classes)
    settings = TRAINING.model_copy(update={
        "epochs": max(1, TRAINING.epochs // 4), "learning_rate": TRAINING.learning_rate / 4,
    })  # fmt: skip
    tuned = {}
    for name, training in (("retrained", mixed), ("tuned", found)):
        tuned[name] = copy.deepcopy(detector)
        train_detector(tuned[name], training, settings, seed=0)
    return tuned


def _attacked(
    detector: SqueezeDet, streets: StreetImages, chosen: torch.Tensor, names: Sequence[str]
) -> DetectionCounterexamples:
    """Attack some streets by some of the features, with the steps of table 12."""
    settings = preset("squeezedet")
    steps = {name: settings.steps[name] for name in names}
    return attack_detector(
        STREETS.renderer(),
        detector,
        streets.scenes(chosen),
        lambda scenes: truths_of(scenes, STREETS),
        settings.model_copy(update={"steps": steps}),
        feasible=street_sets(*STREETS.size),
        project=within_kerbs,
    )


def _scores(detector: SqueezeDet, images: DetectionImages) -> dict[str, float]:
    found = evaluate_detector(detector, images)
    values = (found.map_50, found.recall_50)
    return dict(zip(SCORES, (round(100 * value, 1) for value in values), strict=True))


def _say(name: str, scores: dict[str, Any]) -> None:
    print(f"{name:40} {scores}", flush=True)


if __name__ == "__main__":
    typer.run(main)
