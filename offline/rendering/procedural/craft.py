"""Airplanes and boats."""

from itertools import pairwise

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
    panel,
)

__all__ = ["airplane", "boat"]


def airplane(draw: Draw) -> list[Part]:
    """Build an airliner with jets under its wings, or a light airplane with a propeller."""
    body, trim, glass = draw.colour(), draw.colour(), draw.grey(0.1, 0.25)
    jet = draw.chance(0.7)
    radius = draw.between(0.1, 0.13) if jet else draw.between(0.11, 0.15)
    sections = [(-1.0, 0.15, 0.35), (-0.7, 0.55, 0.2), (-0.35, 1, 0), (0.65, 1, 0),
                (0.82, 0.85, -0.1), (0.94, 0.55, -0.2), (1.0, 0.12, -0.3)]  # fmt: skip
    angle = np.arange(14) / 14 * 2 * np.pi
    hull = loft(
        [[(x, radius * (r * np.sin(a) + lift), radius * r * np.cos(a)) for a in angle]
         for x, r, lift in sections], body,
    )  # fmt: skip
    hull = hull.painted(glass, lambda c: (c[:, 0] > 0.78) & (c[:, 0] < 0.9) & (c[:, 1] > 0.02))
    hull = hull.painted(trim, lambda c: (c[:, 1] < -radius * 0.6) & (c[:, 0] < 0.7))
    parts = [hull]
    span, chord = draw.between(0.85, 1.1), draw.between(0.26, 0.36)
    sweep = draw.between(0.3, 0.55) if jet else draw.between(-0.02, 0.08)
    height = -radius * 0.5 if jet or draw.chance(0.4) else radius * 0.95
    rise = draw.between(0.04, 0.14)
    root, taper = draw.between(0.1, 0.25), draw.between(0.3, 0.5) if jet else 0.8
    for side in (-1, 1):
        parts.append(_wing(root, chord, height, span * side, sweep, taper, rise, body))
        tail = draw.between(0.3, 0.32)
        parts.append(_wing(-0.76, 0.2, radius * 0.3, tail * side, 0.14, 0.5, 0.04, trim))
    fin = _wing(-0.72, 0.24, 0.0, draw.between(0.32, 0.42), 0.22, 0.5, 0.0, trim)
    parts.append(fin.turned(0, -np.pi / 2))
    if jet:
        for z in (0.36,) if draw.chance(0.7) else (0.28, 0.56):
            for side in (-1, 1):
                x = root - sweep * z / span + 0.04
                y = height - 0.07 + rise * z / span
                engine = cylinder(0.065, 0.24, 0, draw.grey(0.5, 0.8), 12)
                parts.append(engine.moved(x, y, z * side))
                parts.append(cylinder(0.05, 0.25, 0, glass, 10).moved(x, y, z * side))
        for z in (-1, 1):
            strip = [(-0.5, 0.02), (0.6, 0.02), (0.6, 0.05), (-0.5, 0.05)]
            parts.append(panel([(x, y, z * (radius + 0.004)) for x, y in strip], glass))
    else:
        nose = -0.3 * radius
        parts.append(cylinder(0.035, 0.12, 0, trim, 8).moved(1.03, nose, 0))
        turn = draw.between(0, np.pi)
        blade = box((0.02, 0.5, 0.05), (0, 0, 0), draw.grey(0.1, 0.3)).turned(0, turn)
        parts.append(blade.moved(1.06, nose, 0))
        for x, z in ((0.25, -0.22), (0.25, 0.22), (0.75, 0.0)):
            parts.append(box((0.03, 0.16, 0.03), (x, -radius - 0.05, z), glass))
            parts.append(cylinder(0.06, 0.04, 2, (0.1, 0.1, 0.1), 8).moved(x, -radius - 0.13, z))
    return parts


def _wing(
    x: Number, chord: Number, y: Number, span: Number, sweep: Number, taper: Number, rise: Number,
    colour: Colour,
) -> Part:  # fmt: skip
    """Make a wing along z, whose middle at the root is x; sweep moves its tip back."""
    rings = []
    for z, middle, width, lift in ((0.0, x, chord, 0.0), (span, x - sweep, chord * taper, rise)):
        thick = 0.07 * width + 0.008
        crest, level = middle + width / 4, y + lift
        front, back = (middle + width / 2, level, z), (middle - width / 2, level, z)
        rings.append([front, (crest, level + thick, z), back, (crest, level - thick, z)])
    return loft(rings, colour)


def boat(draw: Draw) -> list[Part]:
    """Build a sailing boat, a motor boat or a small ship on the same kind of pointed hull."""
    hull_colour, trim, deck = draw.colour(), draw.colour(), (0.72, 0.55, 0.36)
    kind = draw.whole(0, 2)
    beam = draw.between(0.22, 0.3) if kind == 0 else draw.between(0.25, 0.34)
    depth, sheer = draw.between(0.22, 0.3), draw.between(0.06, 0.14)
    rings, gunwale = [], []
    for x, wide, low in ((-0.95, 0.75, 0.3), (-0.5, 0.97, 0.05), (0, 1, 0), (0.45, 0.8, 0.05),
                         (0.8, 0.38, 0.25), (1.05, 0.02, 0.75)):  # fmt: skip
        top = depth + sheer * max(x, 0) ** 2
        z, bottom = beam * wide, depth * low
        turn = bottom + (top - bottom) * 0.35
        rings.append([(x, top, -z), (x, turn, -z * 0.85), (x, bottom, 0), (x, turn, z * 0.85),
                      (x, top, z)])  # fmt: skip
        gunwale.append((x, top, z))
    hull = loft(rings, hull_colour).painted(deck, lambda c: c[:, 1] > depth * 0.98)
    line = draw.between(0.3, 0.5) * depth
    parts = [hull.painted(trim, lambda c: c[:, 1] < line)]
    for (xa, ya, za), (xb, yb, zb) in pairwise(gunwale):
        for side in (-1, 1):
            under = [(xa, ya - 0.03, side * (za + 0.008)), (xb, yb - 0.03, side * (zb + 0.008))]
            over = [(xb, yb + 0.05, side * (zb + 0.008)), (xa, ya + 0.05, side * (za + 0.008))]
            parts.append(panel([*under, *over], trim))
    builders = (_sails, _motor_cabin, _ship_house)
    return parts + builders[kind](draw, depth, beam, trim)


def _sails(draw: Draw, deck: Number, beam: Number, trim: Colour) -> list[Part]:
    mast, x = draw.between(1.3, 1.7), draw.between(0.1, 0.2)
    cloth = draw.grey(0.85, 0.98) if draw.chance(0.6) else draw.colour()
    belly = draw.between(0.03, 0.12)
    parts = [
        cylinder(0.022, mast, 1, (0.45, 0.32, 0.2), 8).moved(x, deck + mast / 2, 0),
        box((0.85, 0.03, 0.03), (x - 0.42, deck + 0.18, belly / 2), (0.45, 0.32, 0.2)),
        box((0.45, 0.12, beam), (-0.35, deck + 0.05, 0), trim),
    ]
    for foot, head, end in ((x - 0.02, x - 0.02, x - 0.84), (1.0, x + 0.03, x + 0.06)):
        low, high = deck + 0.2, deck + mast * (0.97 if end < x else 0.85)
        corners = np.array([(foot, low, 0), (head, high, 0), (end, low, belly)])
        middle = corners.mean(axis=0) + np.array((0, 0, belly))
        parts.append(panel([corners[0], corners[1], middle, corners[0]], cloth))
        parts.append(panel([corners[1], corners[2], middle, corners[1]], cloth))
        parts.append(panel([corners[2], corners[0], middle, corners[2]], cloth))
    return parts


def _motor_cabin(draw: Draw, deck: Number, beam: Number, trim: Colour) -> list[Part]:
    tall, glass, white = draw.between(0.2, 0.32), draw.grey(0.1, 0.25), draw.grey(0.8, 0.95)
    front, back = draw.between(0.2, 0.4), draw.between(-0.5, -0.3)
    wide = beam * 0.75
    floor = [
        (back, deck, -wide),
        (front, deck, -wide * 0.8),
        (front, deck, wide * 0.8),
        (back, deck, wide),
    ]
    roof = [(x * 0.8 + 0.2 * back, deck + tall, z * 0.8) for x, _, z in floor]
    cabin = loft([floor, roof], white)
    middle = [[(a[0], deck + tall * part, a[2] * (1.03 - 0.2 * part)) for a in floor]
              for part in (0.45, 0.85)]  # fmt: skip
    band = loft([[(x * (1.04 - 0.2 * (i + 1) * 0.4), y, z) for x, y, z in row]
                 for i, row in enumerate(middle)], glass, capped=False)  # fmt: skip
    motor = box((0.14, 0.3, 0.16), (-1.02, deck, 0), (0.15, 0.15, 0.15))
    rail = [box((0.02, 0.14, 0.02), (x, deck + 0.1, z), (0.7, 0.7, 0.7))
            for x, z in ((0.6, -0.14), (0.6, 0.14), (0.85, -0.06), (0.85, 0.06))]  # fmt: skip
    return [cabin, band, motor, *rail, box((0.4, 0.03, beam), (-0.65, deck + 0.05, 0), trim)]


def _ship_house(draw: Draw, deck: Number, beam: Number, trim: Colour) -> list[Part]:
    white, glass = draw.grey(0.8, 0.95), draw.grey(0.1, 0.25)
    x, parts, bottom = draw.between(-0.5, -0.3), [], deck
    for i in range(draw.whole(2, 3)):
        size = (0.7 - 0.16 * i, 0.17, beam * (1.5 - 0.3 * i))
        parts.append(box(size, (x, bottom + 0.085, 0), white))
        parts.append(box((size[0] * 1.01, 0.05, size[2] * 1.01), (x, bottom + 0.1, 0), glass))
        bottom += 0.17
    funnel = lathe([(0.1, 0), (0.085, 0.26), (0.085, 0.34)], trim, 10)
    cargo = [box((0.22, 0.14, beam), (0.15 + 0.26 * i, deck + 0.07, 0), draw.colour())
             for i in range(draw.whole(1, 2))]  # fmt: skip
    mast = cylinder(0.015, 0.5, 1, (0.3, 0.3, 0.3), 6).moved(0.7, deck + 0.25, 0)
    return [*parts, funnel.moved(x - 0.1, bottom - 0.02, 0), *cargo, mast]
