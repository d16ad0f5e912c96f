"""What a street is made of, in metres: carriageway, pavement, trees, lamps.

Colours are reflectances, as a camera measures them: asphalt is 0.09, not the 0.33 of a picture.
Nothing is painted by a sheet upon another: surfaces are divided into cells, each of its colour.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from offline.rendering.meshes.mesh import Mesh, merged
from offline.rendering.procedural.parts import (
    Colour,
    Draw,
    Number,
    Part,
    ball,
    box,
    cylinder,
    lathe,
)
from offline.rendering.streets.daylight import ALBEDO

__all__ = [
    "KERB",
    "LAMP_HEIGHT",
    "SCENERY",
    "carriageway",
    "cells",
    "ground",
    "jitter",
    "joined",
    "patch",
    "pavement",
    "street_lamp",
    "tree",
]

Array = NDArray[np.float64]
SCENERY = ("road", "pavement", "building", "tree", "street lamp", "ground")
LAMP_HEIGHT = 6.2
KERB = 0.13
DASH, GAP, LINE = 3.0, 4.0, 0.14
LEAVES: tuple[Colour, ...] = (
    (0.07, 0.17, 0.035), (0.10, 0.20, 0.04), (0.05, 0.13, 0.04), (0.16, 0.19, 0.05),
)  # fmt: skip


def joined(name: str, parts: Sequence[Part]) -> Mesh:
    """Put parts together into one mesh where they are, in metres."""
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = [part.faces + start for part, start in zip(parts, starts, strict=False)]
    vertices = np.concatenate([part.vertices for part in parts])
    return merged(
        name, vertices, np.concatenate(faces), np.concatenate([part.colours for part in parts])
    )


def cells(x: Array, z: Array, y: Number, colour: Callable[[Array], Array]) -> Part:
    """Lay a grid of cells at height y; `colour` gives that of each from its centre (x, z)."""
    x, z = np.sort(x), np.sort(z)
    across, along = np.meshgrid(x, z)
    vertices = np.stack((across, np.full_like(across, y), along), axis=2).reshape(-1, 3)
    row, column = (g.reshape(-1) for g in np.mgrid[: len(z) - 1, : len(x) - 1])
    first = row * len(x) + column
    quads = np.stack((first, first + len(x), first + len(x) + 1, first, first + len(x) + 1,
                      first + 1), axis=1)  # fmt: skip
    centres = np.stack(((x[column] + x[column + 1]) / 2, (z[row] + z[row + 1]) / 2), axis=1)
    return Part(vertices, quads.reshape(-1, 3), np.repeat(colour(centres), 2, axis=0))


def patch(corners: Sequence[Sequence[Number]], colour: Colour) -> Part:
    """Make two triangles of four corners in order."""
    faces = np.array([(0, 1, 2), (0, 2, 3)])
    return Part(
        np.array(corners, dtype=np.float64), faces, np.tile(np.array(colour, float), (2, 1))
    )


def jitter(draw: Draw, count: int, spread: Number) -> Array:
    """Draw factors about 1."""
    return np.array([1 + draw.between(-spread, spread) for _ in range(count)])


def carriageway(draw: Draw, half: Number, lane: Number, length: Number) -> Mesh:
    """Build a road along -z, x from -half to half: two lanes, and places to park beside them."""
    x = np.array([-half, -lane - LINE, -lane, -LINE / 2, LINE / 2, lane, lane + LINE, half])
    starts = np.arange(0, length, DASH + GAP)
    z = -1 - np.unique(np.concatenate([starts, starts + DASH, [length]]).clip(0, length))
    asphalt, paint = draw.between(0.06, 0.10), draw.between(0.42, 0.55)

    def colour(middles: Array) -> Array:
        side = (np.abs(middles[:, 0]) > lane) & (np.abs(middles[:, 0]) < lane + LINE)
        middle = np.abs(middles[:, 0]) < LINE / 2
        dashed = (-middles[:, 1] - 1) % (DASH + GAP) < DASH
        parking = np.abs(middles[:, 0]) > lane + LINE
        base = jitter(draw, len(middles), 0.05) * asphalt * np.where(parking, 1.25, 1)
        return np.where(side | (middle & dashed), paint, base)[:, None] * (1, 1, 1.04)

    return joined("road", [cells(x, z, 0.0, colour)])


def pavement(draw: Draw, half: Number, wide: Number, length: Number) -> Mesh:
    """Build both pavements of slabs, `wide` metres from their kerbs on."""
    tone = draw.between(0.22, 0.32)
    z = -1 - np.append(np.arange(0, length, 2.0), length)

    def slabs(middles: Array) -> Array:
        return (jitter(draw, len(middles), 0.05) * tone)[:, None] * (1.02, 1, 0.95)

    parts = []
    for side in (-1, 1):
        x = side * (half + np.linspace(0.16, wide, max(3, int(wide / 0.9))))
        parts.append(cells(x, z, KERB, slabs))
        kerb = box(
            (0.16, KERB, length), (side * (half + 0.08), KERB / 2, -1 - length / 2), (1, 1, 1)
        )
        parts.append(kerb.painted((tone * 1.25,) * 3, lambda c: c[:, 1] > -1))
    return joined("pavement", parts)


def ground(draw: Draw, start: Number, wide: Number, length: Number) -> Mesh:
    """Lay gardens on both sides, `wide` metres from x = start and -start on, at the height KERB.

    So what stands beside the pavements casts its shadow on something.
    """
    z = -1 - np.append(np.arange(0, length, 4.0), length)

    def soil(middles: Array) -> Array:
        return jitter(draw, len(middles), 0.06)[:, None] * ALBEDO

    parts = []
    for side in (-1, 1):
        parts.append(cells(side * (start + np.linspace(0, wide, 7)), z, KERB, soil))
        edge = [(side * start, y, -1 - along) for y, along in
                ((0, 0), (0, length), (KERB, length), (KERB, 0))]  # fmt: skip
        parts.append(patch(edge, ALBEDO))
    return joined("ground", parts)


def tree(draw: Draw) -> Mesh:
    """Build a leafy tree, or a conifer, of 4 to 6 metres, its foot at the origin."""
    bark, leaf = (0.10, 0.07, 0.045), LEAVES[draw.whole(0, len(LEAVES) - 1)]
    tall = draw.between(4.2, 6.4)
    stem = tall * draw.between(0.28, 0.38)
    parts = [lathe([(0.035 * tall, 0), (0.022 * tall, stem), (0.01 * tall, stem * 2)], bark, 8)]
    if draw.chance(0.25):
        parts = [lathe([(0.03 * tall, 0), (0.02 * tall, stem)], bark, 8)]
        for i in range(4):
            low = stem * 0.7 + (tall - stem * 0.7) * i / 4
            high, wide = low + tall * 0.34, tall * 0.2 * (1 - 0.2 * i)
            parts.append(_ruffled(draw, lathe([(wide, low), (wide * 0.5, (low + high) / 2),
                                               (0.02, high)], leaf, 11), 0.12))  # fmt: skip
        return joined("tree", parts)
    for _ in range(draw.whole(4, 6)):
        size = tall * draw.between(0.15, 0.21)
        crown = ball((size, size * draw.between(0.8, 1.0), size), leaf, 6, 9)
        away, angle = tall * draw.between(0.03, 0.11), draw.between(0, 2 * np.pi)
        high = stem + draw.between(0.25, 0.85) * (tall - stem)
        crown = _ruffled(draw, crown, 0.14 * size)
        parts.append(crown.moved(away * np.cos(angle), high, away * np.sin(angle)))
    return joined("tree", parts)


def street_lamp() -> Mesh:
    """Build a lamp post whose arm reaches along +x; its light is at (1.3, LAMP_HEIGHT, 0)."""
    steel, glass = (0.12, 0.13, 0.14), (0.8, 0.78, 0.7)
    top = LAMP_HEIGHT + 0.25
    return joined("street lamp", [
        lathe([(0.11, 0), (0.11, 0.9), (0.07, 1.0), (0.045, top)], steel, 10),
        box((1.4, 0.07, 0.07), (0.68, top, 0), steel),
        box((0.55, 0.1, 0.24), (1.25, top, 0), steel),
        box((0.42, 0.05, 0.18), (1.25, top - 0.07, 0), glass),
        cylinder(0.16, 0.08, 1, steel, 10).moved(0, 0.04, 0),
    ])  # fmt: skip


def _ruffled(draw: Draw, part: Part, most: Number) -> Part:
    """Move vertices at the same place alike, and let faces differ a little in brightness."""
    _, index = np.unique(np.round(part.vertices, 6), axis=0, return_inverse=True)
    index = index.reshape(-1)
    moves = np.array(
        [[draw.between(-most, most) for _ in range(3)] for _ in range(index.max() + 1)]
    )
    shade = jitter(draw, len(part.faces), 0.18)[:, None]
    return Part(part.vertices + moves[index], part.faces, part.colours * shade)
