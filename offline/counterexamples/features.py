"""Semantic features: what an attack may move of a scene, by name (000, appendix E.1).

A feature is a scene parameter, a part of one, or a code that several of them follow.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from offline.counterexamples.object_boxes import vehicles
from offline.counterexamples.surroundings import Foliage, Weather
from offline.counterexamples.vehicle_features import Deformation, Heading, Place
from offline.rendering.scene import PARAMETERS, Scene

__all__ = ["FEATURES", "STREET_FEATURES", "Feature", "Parameter", "moved", "starts"]


class Feature(Protocol):
    """What an attack steps on."""

    @property
    def box(self) -> tuple[float, float] | None:
        """The least and the greatest value that makes sense anywhere; None: every value does."""
        ...

    def start(self, scenes: Scene) -> Float[Tensor, "batch ..."]:
        """Return the feature's value, where an attack begins."""
        ...

    def apply(self, scenes: Scene, value: Float[Tensor, "batch ..."]) -> Scene:
        """Return the scenes with the feature at another value, differentiable in it."""
        ...


@dataclass(frozen=True)
class Parameter:
    """A scene parameter, or the part of it where `where` says yes.

    Attributes:
        name: one of `PARAMETERS`.
        box: as in `Feature`.
        where: scenes to bool, broadcastable to the parameter; the rest has no gradient and stays.
    """

    name: str
    box: tuple[float, float] | None = None
    where: Callable[[Scene], Tensor] | None = None

    def start(self, scenes: Scene) -> Float[Tensor, "batch ..."]:
        """Return the parameter."""
        value: Tensor = getattr(scenes, self.name)
        return value

    def apply(self, scenes: Scene, value: Float[Tensor, "batch ..."]) -> Scene:
        """Put the value in place of the parameter, or of its part."""
        if self.where is not None:
            value = torch.where(self.where(scenes), value, getattr(scenes, self.name))
        return scenes.replace(**{self.name: value})


STREET_FEATURES: dict[str, Feature] = {
    # Factors on the colours of a vehicle's faces: 0 is black.
    "vehicle_colour": Parameter("colour", (0.0, 2.0), lambda scenes: vehicles(scenes)[..., None]),
    "weather": Weather(),
    "foliage": Foliage(),
    "translate": Place(),
    "rotate": Heading(),
    "mesh": Deformation(),
}
"""The six of 001, section 4.1: of vehicles, and of what is about them. `vehicle_colour` is the
seed's *color*; `colour` is the factor of every object."""

FEATURES: dict[str, Feature] = {
    **{name: Parameter(name) for name in PARAMETERS},
    **STREET_FEATURES,
}
"""Every feature that settings may name: each scene parameter as a whole, and those of streets."""


def starts(scenes: Scene, names: Mapping[str, object]) -> dict[str, Float[Tensor, "batch ..."]]:
    """Return θ: the value of each named feature."""
    return {name: FEATURES[name].start(scenes) for name in names}


def moved(scenes: Scene, theta: Mapping[str, Float[Tensor, "batch ..."]]) -> Scene:
    """Return the scenes with each named feature at its value; gradients flow through."""
    for name, value in theta.items():
        scenes = FEATURES[name].apply(scenes, value)
    return scenes
