"""The classifiers that benchmarks measure, each with its images: MNIST, digits, CIFAR-10.

    python -m tests.benchmarks.subjects --dataset mnist|digits|cifar10 [--data PATH] --save FILE

trains one and writes its weights in half precision; those in `weights/` were made so. MNIST is the
recipe `mnist`, with its settings. Digits are scikit-learn's, 8x8 pixels scaled up to 28x28, on the
same network: small, and always there. CIFAR-10 is an image folder, on a residual network of three
stages, 32 to 128 channels, two blocks to a stage. The last line is one JSON object, with the
accuracy.
"""

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import torch
import typer
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from guard.errors import BadInput
from offline.datasets import ArrayImages, split
from offline.evaluation.robustness import accuracy
from offline.fitting import FitSettings
from offline.hardening import Augmentation, TrainSettings, train
from offline.models import build_model, load_weights, save_weights
from offline.recipe import DataSettings, load_recipe
from offline.sources import Data, open_files

__all__ = ["CIFAR_NETWORK", "Dataset", "Subject", "open_subject"]

Dataset = Literal["mnist", "digits", "cifar10"]
WEIGHTS = Path(__file__).parent / "weights"
CACHE = Path("runs/benchmarks")
CIFAR_NETWORK = {"width": 32, "blocks": 2, "stages": 3}
SEED = 0


class Subject(NamedTuple):
    """A trained classifier in eval mode, its images, and how its validators are fitted.

    The parts of `data` are drawn by one seed, for calibration images must be new to the model.
    """

    model: nn.Module
    data: Data
    fit: FitSettings


def main(
    dataset: Annotated[Dataset, typer.Option()],
    save: Annotated[Path, typer.Option()],
    data: Path | None = None,
) -> None:
    """Train a subject's model and write its weights to `save`."""
    model, images, training, _ = OPEN[dataset](data)
    train(model, images.train, training, SEED)
    save_weights(copy.deepcopy(model).half(), save)
    load_weights(model, save)
    print(json.dumps({"dataset": dataset, "accuracy": accuracy(model, images.test).value}))


def open_subject(dataset: Dataset, path: Path | None, weights: Path | None) -> Subject:
    """Open the images and load the weights, without any those that are kept here.

    Where none are kept the model is trained, and its weights are cached.

    Raises:
        BadInput: there are no images at `path`, or the weights do not fit.
    """
    model, data, training, fit = OPEN[dataset](path)
    kept = WEIGHTS / f"{dataset}.safetensors"
    if weights is None and kept.is_file():
        weights = kept
    if weights is None:
        made_from = f"{training.model_dump_json()} {data.train.fingerprint()} {model}"
        digest = hashlib.sha256(made_from.encode()).hexdigest()
        weights = CACHE / f"{dataset}-{digest[:12]}.safetensors"
        if not weights.is_file():
            train(model, data.train, training, SEED)
            CACHE.mkdir(parents=True, exist_ok=True)
            save_weights(model, weights)
    load_weights(model, weights)
    return Subject(model.eval(), data, fit)


Prepared = tuple[nn.Module, Data, TrainSettings, FitSettings]


def _mnist(path: Path | None) -> Prepared:
    recipe, _ = load_recipe("mnist", () if path is None else (f"data={path}",))
    if recipe.data.path is None:
        raise BadInput("--data: the folder that holds MNIST is wanted")
    data = open_files(recipe.data, recipe.data.path, recipe.seed)
    return _built(recipe.model, {}), data, recipe.train, recipe.fit


def _digits(path: Path | None) -> Prepared:
    if path is not None:
        raise BadInput("--data: the digits come with scikit-learn, no folder is wanted")
    found = load_digits()
    images = torch.from_numpy(found.images).float().unsqueeze(1) / 16
    grown = functional.interpolate(images, size=(28, 28), mode="bilinear").mul(255).round()
    classes = tuple(map(str, found.target_names))
    whole = ArrayImages(grown.byte(), torch.from_numpy(found.target).long(), classes)
    rest, test = split(whole, 1 / 3, SEED)
    recipe, _ = load_recipe("mnist")
    training = TrainSettings(epochs=20, batch_size=32, learning_rate=0.03)
    data = Data(*split(rest, 1 / 3, SEED), test)
    return _built(recipe.model, {}), data, training, recipe.fit


def _cifar10(path: Path | None) -> Prepared:
    if path is None:
        raise BadInput("--data: a folder with train/CLASS/IMAGE and test/CLASS/IMAGE is wanted")
    data = open_files(DataSettings(path=path), path, SEED)
    training = TrainSettings(
        epochs=40, precision="bfloat16", augmentation=Augmentation(shift=4, flip=True)
    )
    arguments = {"num_classes": len(data.test.classes), **CIFAR_NETWORK}
    return _built("offline.networks:small_resnet", arguments), data, training, FitSettings()


def _built(factory: str, arguments: dict[str, int]) -> nn.Module:
    torch.manual_seed(SEED)  # the factory's own initial weights
    return build_model(factory, arguments, None)


OPEN: dict[Dataset, Callable[[Path | None], Prepared]] = {
    "mnist": _mnist,
    "digits": _digits,
    "cifar10": _cifar10,
}

if __name__ == "__main__":
    typer.run(main)
