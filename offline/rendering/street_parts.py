"""What a street is made of, in metres: carriageway, pavement, houses, trees, lamps.

Colours are reflectances, as a camera measures them: asphalt is 0.09, not the 0.33 of a picture.
Nothing is painted by a sheet upon another: surfaces are divided into cells, each of its colour.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from offline.rendering.meshes import Mesh, merged
from offline.rendering.procedural.parts import Colour, Draw, Number, Part, ball, box, cylinder, lathe

__all__ = [
    "KERB",
    "LAMP_HEIGHT",
    "SCENERY",
    "carriageway",
    "house",
    "joined",
    "pavement",
    "street_lamp",
    "tree",
]

Array = NDArray[np.float64]
SCENERY = ("road", "pavement", "building", "tree", "street lamp")
LAMP_HEIGHT = 6.2
KERB = 0.13
DASH, GAP, LINE = 3.0, 4.0, 0.14
BRICKS: tuple[Colour, ...] = (
    (0.36, 0.14, 0.09), (0.55, 0.43, 0.28), (0.62, 0.58, 0.5), (0.45, 0.24, 0.16),
    (0.30, 0.36, 0.40), (0.66, 0.52, 0.36), (0.52, 0.50, 0.47), (0.58, 0.36, 0.28),
)  # fmt: skip
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


def carriageway(draw: Draw, half: Number, lane: Number, length: Number) -> Mesh:
    """Build a road along -z, x from -half to half: two lanes, and places to park beside them."""
    x = np.array([-half, -lane - LINE, -lane, -LINE / 2, LINE / 2, lane, lane + LINE, half])
    starts = np.arange(0, length, DASH + GAP)
    z = -1 - np.unique(np.concatenate([starts, starts + DASH, [length]]).clip(0, length))
    asphalt, paint = draw.between(0.06, 0.10), draw.between(0.42, 0.55)

    def colour(cells: Array) -> Array:
        side = (np.abs(cells[:, 0]) > lane) & (np.abs(cells[:, 0]) < lane + LINE)
        middle = np.abs(cells[:, 0]) < LINE / 2
        dashed = (-cells[:, 1] - 1) % (DASH + GAP) < DASH
        parking = np.abs(cells[:, 0]) > lane + LINE
        base = _jitter(draw, len(cells), 0.05) * asphalt * np.where(parking, 1.25, 1)
        return np.where(side | (middle & dashed), paint, base)[:, None] * (1, 1, 1.04)

    return joined("road", [_level(x, z, 0.0, colour)])


def pavement(draw: Draw, half: Number, wide: Number, length: Number) -> Mesh:
    """Build both pavements of slabs, `wide` metres from their kerbs on."""
    tone = draw.between(0.22, 0.32)
    z = -1 - np.append(np.arange(0, length, 2.0), length)

    def slabs(cells: Array) -> Array:
        return (_jitter(draw, len(cells), 0.05) * tone)[:, None] * (1.02, 1, 0.95)

    parts = []
    for side in (-1, 1):
        x = side * (half + np.linspace(0.16, wide, max(3, int(wide / 0.9))))
        parts.append(_level(x, z, KERB, slabs))
        kerb = box((0.16, KERB, length), (side * (half + 0.08), KERB / 2, -1 - length / 2), (1, 1, 1))
        parts.append(kerb.painted((tone * 1.25,) * 3, lambda c: c[:, 1] > -1))
    return joined("pavement", parts)


def house(draw: Draw, front: Number, deep: Number, storeys: int) -> Mesh:
    """Build a house whose front, along x about 0, faces +z at z = 0; it stands back to -deep.

    Its ends are walls without windows, as in a row of houses. The roof is flat or a gable.
    """
    wall = BRICKS[draw.whole(0, len(BRICKS) - 1)]
    tint = draw.between(0.85, 1.1)
    wall = (wall[0] * tint, wall[1] * tint, wall[2] * tint)
    glass = (0.03, 0.04, 0.055)
    trim = draw.grey(0.45, 0.75)
    storey, ground = draw.between(2.9, 3.3), draw.between(3.3, 4.2)
    height = ground + storey * (storeys - 1)
    shop, pitched = draw.chance(0.4), draw.chance(0.6)
    tall, share = draw.between(1.4, 1.8), draw.between(0.42, 0.55)
    parts = [_facade(draw, front, (ground, storey, storeys), (tall, share), shop,
                     (wall, glass, trim))]  # fmt: skip
    for x in (-front / 2, front / 2):
        parts.append(_patch([(x, 0, 0), (x, 0, -deep), (x, height, -deep), (x, height, 0)], wall))
    tiles = (draw.between(0.16, 0.3), draw.between(0.07, 0.11), 0.06)
    over = 0.35
    ledge = box((front, 0.25, deep + over), (0, height + 0.12, -deep / 2), trim)
    parts.append(ledge)
    if pitched:
        rise = min(deep, 9.0) * draw.between(0.3, 0.45)
        half, low = front / 2, height + 0.25
        ridge = [(x, low + rise, -deep / 2) for x in (-half, half)]
        eaves = [[(x, low, z) for x in (-half, half)] for z in (over / 2, -deep - over / 2)]
        for row in eaves:
            parts.append(_patch([row[0], row[1], ridge[1], ridge[0]], tiles))
        for i in (0, 1):
            parts.append(_patch([eaves[0][i], eaves[1][i], ridge[i], ridge[i]], wall))
        parts.append(box((0.7, rise * 0.9, 0.7), (front * 0.3, low + rise * 0.75, -deep * 0.4), wall))
    else:
        parts.append(box((front * 0.3, 1.6, 3), (0, height + 1, -deep / 2), draw.grey(0.2, 0.35)))
    return joined("building", parts)


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


def _facade(
    draw: Draw,
    length: Number,
    heights: tuple[Number, Number, int],
    window: tuple[Number, Number],
    shop: bool,
    colours: tuple[Colour, Colour, Colour],
) -> Part:
    """Divide a wall at z = 0, about x = 0, into rows of windows with frames."""
    (ground, storey, storeys), (tall, share), (wall, glass, trim) = heights, window, colours
    columns = max(2, round(length / 2.6))
    pitch, frame = length / columns, 0.09
    half = pitch * share / 2
    centres = -length / 2 + pitch * (np.arange(columns) + 0.5)
    x = np.concatenate([[-length / 2, length / 2],
                        *([c - half, c - half + frame, c + half - frame, c + half] for c in centres)])
    sills = [ground + storey * i + 0.85 for i in range(storeys - 1)]
    low = (0.35, ground - 0.7) if shop else (1.0, 1.0 + tall)
    rows = [low, *((sill, sill + tall) for sill in sills)]
    ledge = (ground - 0.15, ground + 0.15)
    y = np.concatenate([[0.0, 0.3, *ledge, ground + storey * (storeys - 1)],
                        *([a, a + frame, b - frame, b] for a, b in rows)])  # fmt: skip
    band = draw.chance(0.5)
    below = tuple(0.7 * value for value in wall)

    def colour(cells: Array) -> Array:
        across = np.abs(cells[:, :1] - centres)
        in_column, in_glass = (across.min(1) < half), (across.min(1) < half - frame)
        up = cells[:, 1]
        in_row = np.any([(up > a) & (up < b) for a, b in rows], axis=0)
        in_pane = np.any([(up > a + frame) & (up < b - frame) for a, b in rows], axis=0)
        shade = _jitter(draw, len(cells), 0.02)[:, None] * wall
        shade[up < 0.3] = below
        if band:
            shade[(up > ledge[0]) & (up < ledge[1])] = trim
        shade[in_row & in_column] = trim
        shade[in_pane & in_glass] = glass
        return shade

    part = _level(np.unique(x), np.unique(np.round(y, 6)), 0.0, colour)
    return Part(part.vertices[:, [0, 2, 1]], part.faces, part.colours)


def _level(x: Array, z: Array, y: Number, colour: Callable[[Array], Array]) -> Part:
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


def _patch(corners: Sequence[Sequence[Number]], colour: Colour) -> Part:
    faces = np.array([(0, 1, 2), (0, 2, 3)])
    return Part(np.array(corners, dtype=np.float64), faces, np.tile(np.array(colour, float), (2, 1)))


def _jitter(draw: Draw, count: int, spread: Number) -> Array:
    return np.array([1 + draw.between(-spread, spread) for _ in range(count)])


def _ruffled(draw: Draw, part: Part, most: Number) -> Part:
    """Move vertices at the same place alike, and let faces differ a little in brightness."""
    _, index = np.unique(np.round(part.vertices, 6), axis=0, return_inverse=True)
    index = index.reshape(-1)
    moves = np.array([[draw.between(-most, most) for _ in range(3)] for _ in range(index.max() + 1)])
    shade = _jitter(draw, len(part.faces), 0.18)[:, None]
    return Part(part.vertices + moves[index], part.faces, part.colours * shade)
