"""Which strengths are tried, and in which order: Table 3.4 of the Deep Validation chapter.

The thesis gives ranges and steps but no order. Here "growing distortion" means growing distance
from the configuration that changes nothing. For the two-parameter grids (shear, scale,
translation) it is the Euclidean distance counted in grid steps; among equals the more even pair
comes first, then the one with the larger change along x: (0, 0), (1, 0), (0, 1), (1, 1), (2, 0), …
Every final configuration of Table 3.5 can be reached in this order, which no row-by-row order
allows: it would try (0, 18) before (1, 0).

Table 3.4 lets the gain of `contrast` begin at 0, a black image. Only gains from 1 upwards are
tried: lower ones end in pictures that show nothing, and Table 3.5 (a gain of 4 on CIFAR-10, none
found on MNIST) shows that the thesis went upwards as well.
"""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from offline.corner_cases import transformations
from offline.corner_cases.transformations import Border

__all__ = ["TRANSFORMATIONS", "Configuration", "Deformation", "Transformation"]

Configuration = tuple[float, ...]
Images = Float[Tensor, "batch channel height width"]


@dataclass(frozen=True)
class Transformation:
    """A transformation, the names of its parameters and its search space in order of growth."""

    name: str
    symbols: tuple[str, ...]
    unit: str
    growth: tuple[Configuration, ...]
    apply: Callable[[Images, Configuration, Border], Images]

    @property
    def diagonal(self) -> tuple[Configuration, ...]:
        """The part of `growth` in which all parameters grow alike: all of it where there is one."""
        return tuple(c for c in self.growth if len(set(c)) <= 1)

    def describe(self, configuration: Configuration) -> str:
        """Write a configuration as Table 3.5 does: `θ = 50°`, `(T_x, T_y) = (4, 3)`."""
        values = [f"{value:g}{self.unit}" for value in configuration]
        if not values:
            return "maximum pixel value 1"
        if len(values) == 1:
            return f"{self.symbols[0]} = {values[0]}"
        return f"({', '.join(self.symbols)}) = ({', '.join(values)})"


@dataclass(frozen=True)
class Deformation:
    """One transformation with its parameters, or several applied from left to right."""

    steps: tuple[tuple[str, Configuration], ...]
    border: Border = "zeros"

    def __call__(self, images: Images) -> Images:
        """Deform images in [0, 1]."""
        for name, configuration in self.steps:
            images = TRANSFORMATIONS[name].apply(images, configuration, self.border)
        return images

    def describe(self) -> str:
        """Write the configuration for a reader; a single transformation goes without its name."""
        if len(self.steps) == 1:
            name, configuration = self.steps[0]
            return TRANSFORMATIONS[name].describe(configuration)
        return " + ".join(f"{name} {TRANSFORMATIONS[name].describe(c)}" for name, c in self.steps)


def _line(start: float, step: float, count: int) -> tuple[Configuration, ...]:
    return tuple((round(start + index * step, 6),) for index in range(count))


def _grid(start: float, step: float, count: int) -> tuple[Configuration, ...]:
    pairs = sorted(
        ((a, b) for a in range(count) for b in range(count)),
        key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, abs(pair[0] - pair[1]), -pair[0]),
    )
    return tuple((round(start + a * step, 6), round(start + b * step, 6)) for a, b in pairs)


def _of_values(
    name: str,
    symbols: tuple[str, ...],
    function: Callable[..., Images],
    growth: tuple[Configuration, ...],
) -> Transformation:
    return Transformation(
        name, symbols, "", growth, lambda images, values, border: function(images, *values)
    )


def _of_places(
    name: str,
    symbols: tuple[str, ...],
    unit: str,
    function: Callable[..., Images],
    growth: tuple[Configuration, ...],
) -> Transformation:
    return Transformation(
        name,
        symbols,
        unit,
        growth,
        lambda images, values, border: function(images, *values, border),
    )


# Changes of pixel values stand before those of place, and a combination keeps this order: the
# border is then filled after the light has changed, as if the camera had moved last.
TRANSFORMATIONS: dict[str, Transformation] = {
    entry.name: entry
    for entry in (
        _of_values("brightness", ("β",), transformations.brightness, _line(0.0, 0.004, 238)),
        _of_values("contrast", ("α",), transformations.contrast, _line(1.0, 0.1, 41)),
        _of_values("complement", (), transformations.complement, ((),)),
        _of_places("rotation", ("θ",), "°", transformations.rotation, _line(1.0, 1.0, 70)),
        _of_places("shear", ("s_h", "s_v"), "", transformations.shear, _grid(0.0, 0.1, 6)),
        _of_places("scale", ("s_x", "s_y"), "", transformations.scale, _grid(1.0, -0.1, 7)),
        _of_places(
            "translation", ("T_x", "T_y"), "", transformations.translation, _grid(0.0, 1.0, 19)
        ),
    )
}
