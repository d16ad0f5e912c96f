"""Solid parts that procedural objects are put together from: lofts, which are rings joined up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from offline.rendering.meshes.mesh import Mesh, merged

__all__ = [
    "Colour",
    "Draw",
    "Number",
    "Part",
    "assemble",
    "ball",
    "box",
    "cylinder",
    "lathe",
    "loft",
    "panel",
    "prism",
    "ring",
    "sheet",
]

Array = NDArray[np.float64]
Number = float | int  # a checker at run time takes no int for a float
Colour = tuple[Number, Number, Number]


@dataclass(frozen=True)
class Part:
    """Vertices [v, 3], triangles [f, 3] and their colours [f, 3]."""

    vertices: Array
    faces: NDArray[np.int64]
    colours: Array

    def moved(self, x: Number, y: Number, z: Number) -> "Part":
        """Shift the part."""
        return Part(self.vertices + np.array((x, y, z)), self.faces, self.colours)

    def stretched(self, x: Number, y: Number, z: Number) -> "Part":
        """Scale the part about the origin; a negative factor mirrors it."""
        return Part(self.vertices * np.array((x, y, z)), self.faces, self.colours)

    def turned(self, axis: int, angle: Number) -> "Part":
        """Turn the part about the x (0), y (1) or z (2) axis by an angle in radians."""
        a, b = (axis + 1) % 3, (axis + 2) % 3
        vertices = self.vertices.copy()
        vertices[:, a] = np.cos(angle) * self.vertices[:, a] - np.sin(angle) * self.vertices[:, b]
        vertices[:, b] = np.sin(angle) * self.vertices[:, a] + np.cos(angle) * self.vertices[:, b]
        return Part(vertices, self.faces, self.colours)

    def painted(self, colour: Colour, where: Callable[[Array], NDArray[np.bool_]]) -> "Part":
        """Colour the faces whose centres [f, 3] are chosen by `where`."""
        chosen = where(self.vertices[self.faces].mean(axis=1))
        return Part(self.vertices, self.faces, np.where(chosen[:, None], colour, self.colours))


class Draw:
    """Random proportions and colours from a generator."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def between(self, low: Number, high: Number) -> float:
        """Draw a number."""
        unit = torch.rand((), generator=self._generator, device=self._generator.device)
        return low + (high - low) * float(unit)

    def whole(self, low: int, high: int) -> int:
        """Draw a whole number from `low` to `high`, both included."""
        return min(high, int(self.between(low, high + 1)))

    def chance(self, probability: Number) -> bool:
        """Draw true with a probability."""
        return self.between(0, 1) < probability

    def colour(self) -> Colour:
        """Draw any colour that is neither very dark nor very dull."""
        hue, grey = self.between(0, 6), self.between(0, 0.7)
        value = self.between(0.45, 0.95)
        waves = [min(max(abs((hue + shift) % 6 - 3) - 1, 0), 1) for shift in (0, 4, 2)]
        red, green, blue = (value * (grey + (1 - grey) * wave) for wave in waves)
        return red, green, blue

    def grey(self, low: Number, high: Number) -> Colour:
        """Draw a grey of a brightness between two bounds."""
        value = self.between(low, high)
        return value, value, value


def loft(rings: ArrayLike, colour: Colour, capped: bool = True) -> Part:
    """Join rings [ring, point, 3] by a skin; caps are fans about the middles of the end rings."""
    rings = np.asarray(rings, dtype=np.float64)
    skin = sheet(np.concatenate((rings, rings[:, :1]), axis=1), colour)
    if not capped:
        return skin
    size, count = rings.shape[1], len(skin.vertices)
    here = np.arange(size)
    low = np.stack((here + 1, here, np.full(size, count)), axis=1)
    high = np.stack((here, here + 1, np.full(size, count + 1)), axis=1)
    high[:, :2] += (len(rings) - 1) * (size + 1)
    faces = np.concatenate((skin.faces, low, high))
    vertices = np.concatenate((skin.vertices, rings[[0, -1]].mean(axis=1)))
    return Part(vertices, faces, _paint(faces, colour))


def sheet(rows: ArrayLike, colour: Colour) -> Part:
    """Join rows of points [row, point, 3] by a skin with open borders."""
    rows = np.asarray(rows, dtype=np.float64)
    count, size = rows.shape[:2]
    here = np.arange(size - 1)
    quads = np.stack((here, here + 1, here + 1 + size, here, here + 1 + size, here + size), axis=1)
    faces = (quads[None] + size * np.arange(count - 1)[:, None, None]).reshape(-1, 3)
    return Part(rows.reshape(-1, 3), faces, _paint(faces, colour))


def box(size: Sequence[Number], centre: Sequence[Number], colour: Colour) -> Part:
    """Make a box of a size (x, y, z) about a centre; each side is two triangles."""
    x, y, z = np.array(size) / 2
    outline = np.array([(-x, -z), (x, -z), (x, z), (-x, z)])
    corners = [[(a, h, b) for a, b in outline] for h in (-y, y)]
    body = loft(corners, colour, capped=False)
    caps = np.array([(2, 1, 0), (3, 2, 0), (5, 6, 7), (5, 7, 8)])
    faces = np.concatenate((body.faces, caps))
    return Part(body.vertices + np.array(centre), faces, _paint(faces, colour))


def panel(corners: ArrayLike, colour: Colour) -> Part:
    """Make a flat sheet with four corners [4, 3], such as a window just above a wall."""
    a, b, c, d = np.asarray(corners, dtype=np.float64)
    return sheet([[a, b], [d, c]], colour)


def lathe(profile: Sequence[tuple[Number, Number]], colour: Colour, segments: int = 16) -> Part:
    """Turn a profile of (radius, height) about the y axis."""
    angle = np.arange(segments) / segments * 2 * np.pi
    rings = [[(r * np.cos(a), h, r * np.sin(a)) for a in angle] for r, h in profile]
    return loft(rings, colour)


def cylinder(radius: Number, length: Number, axis: int, colour: Colour, segments: int = 14) -> Part:
    """Make a cylinder about the x (0), y (1) or z (2) axis, with its middle at the origin."""
    upright = lathe([(radius, -length / 2), (radius, length / 2)], colour, segments)
    if axis == 1:
        return upright
    return upright.turned(0 if axis == 2 else 2, np.pi / 2)


def ball(size: Sequence[Number], colour: Colour, rings: int = 8, segments: int = 14) -> Part:
    """Make an ellipsoid with half axes (x, y, z) about the origin."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, rings + 1)[1:-1]
    poles = [(1e-3, -1.0), *zip(np.cos(angle), np.sin(angle), strict=True), (1e-3, 1.0)]
    return lathe(poles, colour, segments).stretched(*size)


def ring(radius: Number, thickness: Number, colour: Colour, segments: int = 16) -> Part:
    """Make a torus about the z axis, with a square section that stands on its corner."""
    angle = np.arange(segments) / segments * 2 * np.pi
    shifts = thickness * np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
    rings = [
        [((radius + r) * np.cos(a), (radius + r) * np.sin(a), h) for a in angle] for r, h in shifts
    ]
    return loft([*rings, rings[0]], colour, capped=False)


def prism(outline: Sequence[tuple[Number, Number]], depth: Number, colour: Colour) -> Part:
    """Extrude an outline of (x, y), which its middle can see all of, along z about z = 0."""
    return loft([[(x, y, z) for x, y in outline] for z in (-depth / 2, depth / 2)], colour)


def assemble(name: str, parts: Sequence[Part]) -> Mesh:
    """Put parts together into one mesh that fits the unit sphere."""
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = [part.faces + start for part, start in zip(parts, starts, strict=False)]
    return merged(
        name,
        np.concatenate([part.vertices for part in parts]),
        np.concatenate(faces),
        np.concatenate([part.colours for part in parts]),
    ).normalised()


def _paint(faces: NDArray[np.int64], colour: Colour) -> Array:
    return np.broadcast_to(colour, (len(faces), 3)).astype(np.float64)
