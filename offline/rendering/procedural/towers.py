"""Towers: of a castle, of a lighthouse, of lattice, of offices."""

import numpy as np

from offline.rendering.procedural.parts import (
    Colour,
    Draw,
    Number,
    Part,
    box,
    cylinder,
    lathe,
    loft,
)

__all__ = ["tower"]


def tower(draw: Draw) -> list[Part]:
    """Build a castle tower, a lighthouse, a lattice tower or an office tower."""
    wall, roof, dark = draw.colour(), draw.colour(), (0.1, 0.1, 0.12)
    return (_castle, _lighthouse, _lattice, _offices)[draw.whole(0, 3)](draw, wall, roof, dark)


def _castle(draw: Draw, wall: Colour, roof: Colour, dark: Colour) -> list[Part]:
    radius, tall = draw.between(0.26, 0.34), draw.between(1.7, 2.3)
    top = radius * 1.25
    wide = [(top, tall + 0.12), (top, tall + 0.25)]
    parts = [lathe([(radius * 1.15, 0), (radius, 0.2), (radius, tall), *wide], wall, 14)]
    for k in range(8):
        tooth = box((0.1, 0.14, 0.15), (top - 0.05, tall + 0.31, 0), wall)
        parts.append(tooth.turned(1, k * np.pi / 4))
        if k % 2 == 0:
            slit = [
                box((0.02, 0.2, 0.08), (radius + 0.005, tall * h, 0), dark) for h in (0.35, 0.7)
            ]
            parts += [part.turned(1, k * np.pi / 4) for part in slit]
    if draw.chance(0.5):
        parts.append(
            lathe([(top * 0.95, tall + 0.25), (0.01, tall + draw.between(0.7, 0.95))], roof, 14)
        )
    return parts


def _lighthouse(draw: Draw, wall: Colour, roof: Colour, dark: Colour) -> list[Part]:
    base, top, tall = draw.between(0.32, 0.4), draw.between(0.17, 0.22), draw.between(1.8, 2.3)
    bands = draw.whole(4, 6)
    radii = np.linspace(base, top, bands + 1)
    light = draw.grey(0.85, 0.95)
    parts = [lathe([(radii[i], tall * i / bands), (radii[i + 1], tall * (i + 1) / bands)],
                   (wall, light)[i % 2], 16) for i in range(bands)]  # fmt: skip
    parts += [
        lathe([(top * 1.5, tall), (top * 1.5, tall + 0.06)], dark, 16),
        lathe([(top * 0.8, tall + 0.06), (top * 0.8, tall + 0.28)], (1.0, 0.95, 0.6), 12),
        lathe([(top * 1.1, tall + 0.28), (0.01, tall + 0.5)], roof, 12),
    ]
    return parts


def _lattice(draw: Draw, wall: Colour, roof: Colour, dark: Colour) -> list[Part]:
    base, tall, levels = draw.between(0.5, 0.65), draw.between(2.0, 2.5), 5
    heights = np.linspace(0, 1, levels + 1) ** 0.9 * tall
    widths = base * (1 - np.linspace(0, 1, levels + 1)) ** 1.5 + 0.06
    parts = []
    for i in range(levels):
        low, high, a, b = heights[i], heights[i + 1], widths[i], widths[i + 1]
        for x, z in ((1, 1), (1, -1), (-1, -1), (-1, 1)):
            parts.append(_leg((x * a, low, z * a), (x * b, high, z * b), 0.045, wall))
            parts.append(_leg((x * a, low, z * a), (-z * b, high, x * b), 0.022, wall))
        if i:
            parts.append(box((2 * a + 0.08, 0.06, 2 * a + 0.08), (0, low, 0), roof))
    mast = draw.between(0.2, 0.4)
    return [*parts, cylinder(0.03, mast, 1, wall, 6).moved(0, tall + mast / 2, 0)]


def _offices(draw: Draw, wall: Colour, roof: Colour, dark: Colour) -> list[Part]:
    half, tall, floors = draw.between(0.28, 0.36), draw.between(1.9, 2.4), draw.whole(7, 10)
    parts = [box((2 * half, tall, 2 * half), (0, tall / 2, 0), wall)]
    step = tall / floors
    for i in range(floors - 1):
        band = box((2 * half + 0.012, step * 0.5, 2 * half + 0.012), (0, step * (i + 0.9), 0), dark)
        parts.append(band)
    for x in (-half, half):
        parts += [box((0.07, tall, 0.07), (x, tall / 2, z), wall) for z in (-half, half)]
    parts.append(box((half * 1.2, 0.16, half * 1.2), (0, tall + 0.08, 0), roof))
    mast = draw.between(0.3, 0.5)
    return [*parts, cylinder(0.025, mast, 1, dark, 6).moved(0, tall + 0.16 + mast / 2, 0)]


def _leg(a: tuple[Number, ...], b: tuple[Number, ...], r: Number, colour: Colour) -> Part:
    """Make an upright square post from a to b, its ends level."""
    square = ((-r, -r), (r, -r), (r, r), (-r, r))
    return loft([[(x + dx, y, z + dz) for dx, dz in square] for x, y, z in (a, b)], colour)
