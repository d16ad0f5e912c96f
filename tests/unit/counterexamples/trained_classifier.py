"""The demo's classifier of the twelve procedural classes, trained; and scenes that are new to it.

    python -m tests.unit.counterexamples.trained_classifier --save FILE

renders the demo's images, trains its model on them by its settings (minutes on two cores) and
writes the weights in half precision; those in `weights/` were made so. The last line is one JSON
object, with the accuracy on the test images.
"""

import copy
import json
import tempfile
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import nn

from offline.evaluation.robustness import accuracy
from offline.hardening import train
from offline.models import build_model, load_weights, save_weights
from offline.recipe import load_recipe
from offline.rendering.sampling import sample_scenes
from offline.rendering.scene import Scene
from offline.sources import open_rendered, render

__all__ = ["SIZE", "new_scenes", "trained_classifier"]

WEIGHTS = Path(__file__).parent / "weights" / "procedural.safetensors"
SIZE = 64


def trained_classifier() -> nn.Module:
    """Return the model in eval mode, on the CPU."""
    model = _untrained()
    load_weights(model, WEIGHTS)
    return model.eval()


def new_scenes(count: int, seed: int) -> tuple[Scene, torch.Tensor]:
    """Return scenes of every class in turn, without the gloss that redner lacks, and labels."""
    labels = torch.arange(count) % 12
    scenes = sample_scenes(labels, torch.Generator().manual_seed(seed), SIZE)
    return scenes.with_gloss(torch.zeros_like(scenes.gloss)), labels


def main(save: Annotated[Path, typer.Option()]) -> None:
    """Train the model and write its weights to `save`."""
    recipe, _ = load_recipe("demo")
    settings = recipe.data.rendered
    assert settings is not None
    with tempfile.TemporaryDirectory() as folder:
        render(Path(folder), settings, recipe.seed)
        data = open_rendered(Path(folder), settings, recipe.data.calibration, recipe.seed)
        model = _untrained()
        train(model, data.train, recipe.train, recipe.seed)
        save_weights(copy.deepcopy(model).half(), save)
        load_weights(model, save)
        print(json.dumps({"accuracy": accuracy(model, data.test).value}))


def _untrained() -> nn.Module:
    recipe, _ = load_recipe("demo")
    torch.manual_seed(recipe.seed)  # the factory's own initial weights
    return build_model(recipe.model, recipe.arguments, recipe.normalise)


if __name__ == "__main__":
    typer.run(main)
