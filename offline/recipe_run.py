"""A recipe at work: what all of its stages stand on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from guard.errors import BadInput
from guard.settings import where
from offline.models import build_model
from offline.recipe import Recipe
from offline.stages import Run

__all__ = ["RecipeRun"]


@dataclass(frozen=True)
class RecipeRun:
    """A recipe and its run.

    Attributes:
        recipe: as it was read.
        path: the file that it was read from.
        run: the folder with the stages.
        device: where models are trained and attacked.
    """

    recipe: Recipe
    path: Path
    run: Run
    device: torch.device

    def new_model(self) -> nn.Module:
        """Build the recipe's model with the initial weights that its factory draws."""
        recipe = self.recipe
        torch.manual_seed(recipe.seed)
        return build_model(recipe.model, recipe.arguments, recipe.normalise).to(self.device)

    @contextmanager
    def named(self, key: str) -> Iterator[None]:
        """Say in the message of a mistake where in the recipe it was named."""
        try:
            yield
        except BadInput as error:
            raise type(error)(f"{where(self.path, key)}: {error}") from None
