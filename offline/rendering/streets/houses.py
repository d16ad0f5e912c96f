"""Town houses, in metres; their colours are reflectances."""

import numpy as np
from numpy.typing import NDArray

from offline.rendering.meshes.mesh import Mesh
from offline.rendering.procedural.parts import Colour, Draw, Number, Part, box
from offline.rendering.streets.parts import cells, jitter, joined, patch

__all__ = ["house"]

Array = NDArray[np.float64]
BRICKS: tuple[Colour, ...] = (
    (0.36, 0.14, 0.09), (0.55, 0.43, 0.28), (0.62, 0.58, 0.5), (0.45, 0.24, 0.16),
    (0.30, 0.36, 0.40), (0.66, 0.52, 0.36), (0.52, 0.50, 0.47), (0.58, 0.36, 0.28),
)  # fmt: skip


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
        parts.append(patch([(x, 0, 0), (x, 0, -deep), (x, height, -deep), (x, height, 0)], wall))
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
            parts.append(patch([row[0], row[1], ridge[1], ridge[0]], tiles))
        for i in (0, 1):
            parts.append(patch([eaves[0][i], eaves[1][i], ridge[i], ridge[i]], wall))
        parts.append(
            box((0.7, rise * 0.9, 0.7), (front * 0.3, low + rise * 0.75, -deep * 0.4), wall)
        )
    else:
        parts.append(box((front * 0.3, 1.6, 3), (0, height + 1, -deep / 2), draw.grey(0.2, 0.35)))
    return joined("building", parts)


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
    x = np.concatenate(
        [
            [-length / 2, length / 2],
            *([c - half, c - half + frame, c + half - frame, c + half] for c in centres),
        ]
    )
    sills = [ground + storey * i + 0.85 for i in range(storeys - 1)]
    low = (0.35, ground - 0.7) if shop else (1.0, 1.0 + tall)
    rows = [low, *((sill, sill + tall) for sill in sills)]
    ledge = (ground - 0.15, ground + 0.15)
    y = np.concatenate([[0.0, 0.3, *ledge, ground + storey * (storeys - 1)],
                        *([a, a + frame, b - frame, b] for a, b in rows)])  # fmt: skip
    band = draw.chance(0.5)
    below = tuple(0.7 * value for value in wall)

    def colour(middles: Array) -> Array:
        across = np.abs(middles[:, :1] - centres)
        in_column, in_glass = (across.min(1) < half), (across.min(1) < half - frame)
        up = middles[:, 1]
        in_row = np.any([(up > a) & (up < b) for a, b in rows], axis=0)
        in_pane = np.any([(up > a + frame) & (up < b - frame) for a, b in rows], axis=0)
        shade = jitter(draw, len(middles), 0.02)[:, None] * wall
        shade[up < 0.3] = below
        if band:
            shade[(up > ledge[0]) & (up < ledge[1])] = trim
        shade[in_row & in_column] = trim
        shade[in_pane & in_glass] = glass
        return shade

    part = cells(np.unique(x), np.unique(np.round(y, 6)), 0.0, colour)
    return Part(part.vertices[:, [0, 2, 1]], part.faces, part.colours)
