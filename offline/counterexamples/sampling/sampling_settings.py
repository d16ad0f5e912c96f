"""What a person sets of sampling around scenes, and the points that are drawn."""

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from pydantic import Field, field_validator
from scipy.stats import qmc
from torch import Tensor

from guard.errors import nearest
from guard.settings import Settings
from offline.counterexamples.features import FEATURES

__all__ = ["LARGE", "SMALL", "Points", "SamplingSettings"]

LARGE, SMALL = 0.75, 0.3
"""The two ranges of `pose` that the seed draws from, in radians either way (section 4.2)."""


class SamplingSettings(Settings):
    """How scenes are sampled around where they are (000, appendix E.5).

    Attributes:
        method: `random` draws uniformly; `halton` takes, for each scene, the first points of a
            Halton sequence whose digits are permuted at random, so that scenes differ.
        ranges: how far either way each feature is drawn from where it is, in its own unit.
        samples: N, how many are drawn of each scene.
        seed: of the draws. The first points of a scene are the same for any `samples`, and those
            of the first scenes for any number of scenes.
        least_coverage: the fraction of the pixels that must still show the subject (or half of what
            showed it at the start, where that is less); a sample that leaves less is rendered and
            counted, but is never a counterexample.
    """

    method: Literal["random", "halton"] = "halton"
    ranges: dict[str, Annotated[float, Field(gt=0)]] = Field(default={"pose": LARGE}, min_length=1)
    samples: int = Field(default=5, ge=1)
    seed: int = Field(default=0, ge=0)
    least_coverage: float = Field(default=0.02, ge=0, lt=1)

    @field_validator("ranges")
    @classmethod
    def _known(cls, ranges: dict[str, float]) -> dict[str, float]:
        for name in ranges:
            if name not in FEATURES:
                raise ValueError(f"{name!r} is no semantic feature{nearest(name, FEATURES)}")
        return ranges


class Points:
    """The points of every scene, in [0, 1), drawn as far as they are asked for.

    Each scene has a stream of its own, from the seed and its number.
    """

    def __init__(self, settings: SamplingSettings, scenes: int, dimensions: int) -> None:
        self.streams = [
            _stream(settings.method, np.random.default_rng([settings.seed, number]), dimensions)
            for number in range(scenes)
        ]
        self.drawn = torch.empty(scenes, 0, dimensions)

    def take(self, rows: Int64[Tensor, " row"], number: int) -> Float[Tensor, "row dimension"]:
        """Return point `number` of some scenes, on the CPU."""
        if number >= self.drawn.shape[1]:
            more = np.stack([draw(_AT_ONCE) for draw in self.streams])
            self.drawn = torch.cat((self.drawn, torch.from_numpy(more).float()), dim=1)
        return self.drawn[rows.cpu(), number]


_AT_ONCE = 8


def _stream(
    method: str, generator: np.random.Generator, dimensions: int
) -> Callable[[int], np.ndarray]:
    """Return what draws the next points of a scene, [point, dimension]."""
    if method == "random":
        return lambda count: generator.random((count, dimensions))
    sequence = qmc.Halton(dimensions, scramble=True, seed=generator)
    draw: Callable[[int], np.ndarray] = sequence.random
    return draw
