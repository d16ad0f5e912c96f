"""The SqueezeDet that benchmarks attack, and the streets that it is trained and measured on.

    python -m tests.benchmarks.street_detector --folder DIR --save FILE

renders the streets into DIR, where they are not there yet, trains the detector and writes its
weights in half precision; those in `weights/` were made so. The last line is one JSON object: mean
average precision and recall on streets that it was not trained on, and the seconds it took.
"""

import copy
import json
import time
from pathlib import Path
from typing import Annotated

import torch
import typer

from guard.storage import replace_directory
from offline.detection import (
    DetectionImages,
    SqueezeDet,
    StreetImages,
    StreetSetSettings,
    evaluate_detector,
    fit_shapes,
    render_streets,
    train_detector,
)
from offline.hardening import Augmentation, TrainSettings
from offline.models import load_weights, save_weights

__all__ = ["STREETS", "TRAINING", "WEIGHTS", "open_streets", "street_detector", "trained_detector"]

STREETS = StreetSetSettings()
TRAINING = TrainSettings(
    epochs=30,
    batch_size=16,
    learning_rate=0.02,
    weight_decay=1e-4,
    clip=10.0,
    average=0.99,
    augmentation=Augmentation(flip=True),
)
WEIGHTS = Path(__file__).parent / "weights" / "streets.safetensors"
SEED = 0
TRAIN_SEED, TEST_SEED = 1, 2


def main(
    folder: Annotated[Path, typer.Option()],
    save: Annotated[Path, typer.Option()],
    train: int = 960,
    test: int = 120,
) -> None:
    """Train the detector, write its weights to `save` and measure what was written."""
    images = open_streets(folder / f"train{train}", train, TRAIN_SEED)
    held_out = open_streets(folder / f"test{test}", test, TEST_SEED)
    start = time.perf_counter()
    detector = trained_detector(images, checkpoint=folder / f"checkpoint{train}")
    seconds = time.perf_counter() - start
    save_weights(copy.deepcopy(detector).half(), save)
    load_weights(detector, save)
    scores = evaluate_detector(detector, held_out)
    print(json.dumps({"images": train, **scores._asdict(), "training_seconds": round(seconds)}))


def open_streets(folder: Path, count: int, seed: int) -> StreetImages:
    """Open `count` streets of a seed, rendered into `folder` where that is not there yet."""
    if not folder.is_dir():
        with replace_directory(folder) as partial:
            render_streets(partial, count, STREETS, seed)
    return StreetImages(folder, STREETS, seed)


def street_detector(shapes: tuple[tuple[float, float], ...]) -> SqueezeDet:
    """Return the detector of these streets, of half the paper's width, with its first weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return SqueezeDet(STREETS.classes, STREETS.size, shapes, width=0.5, stride=8, dropout=0.1)


def trained_detector(
    images: DetectionImages, settings: TrainSettings = TRAINING, checkpoint: Path | None = None
) -> SqueezeDet:
    """Train a new detector, with anchors fitted to the boxes of the images."""
    shapes = fit_shapes(torch.cat([truth.boxes for truth in images.truths]), 7, SEED)
    detector = street_detector(shapes)
    train_detector(detector, images, settings, SEED, checkpoint=checkpoint)
    return detector


if __name__ == "__main__":
    typer.run(main)
