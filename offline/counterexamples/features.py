"""Semantic features: what an attack may move of a scene, by name (000, appendix E.1).

A feature is a scene parameter, a part of one, or a code that several of them follow.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from offline.attacks import Bound
from offline.counterexamples.streets.object_boxes import vehicles
from offline.counterexamples.streets.surroundings import Foliage, Weather
from offline.counterexamples.streets.vehicle_features import Deformation, Heading, Place
from offline.rendering.scene import PARAMETERS, Scene

__all__ = ["FEATURES", "STREET_FEATURES", "Feature", "Parameter", "moved", "starts"]


class Feature(Protocol):
    """What an attack steps on."""

    @property
    def box(self) -> tuple[Bound, Bound] | None:
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
    box: tuple[Bound, Bound] | None = None
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


ANY, NEAR_0 = math.inf, 1e-3
BOXES: dict[str, tuple[Bound, Bound]] = {
    "scale": (NEAR_0, ANY),
    "colour": (0.0, ANY),
    "texture": (0.0, 1.0),
    "light": ((*[-ANY] * 3, *[0.0] * 3), ANY),
    "lamps": ((*[-ANY] * 3, *[0.0] * 3), ANY),
    # A field of view of 0 or of π radians shows nothing, or all; these are 0.6 and 170 degrees.
    "camera": ((NEAR_0, -ANY, -ANY, 0.01, *[-ANY] * 4), (ANY, ANY, ANY, 2.97, *[ANY] * 4)),
    "background": (0.0, 1.0),
    "fog": (0.0, (ANY, 1.0, 1.0, 1.0)),
}
"""The least and the greatest value of scene parameters: what is bright is not darker than black, a
thing has a size, a camera a distance. Any other may have any value."""

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
    **{name: Parameter(name, BOXES.get(name)) for name in PARAMETERS},
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
