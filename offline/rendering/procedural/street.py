"""What stands in the street: benches, trashcans, mailboxes."""

import numpy as np

from offline.rendering.procedural.parts import (
    Colour,
    Draw,
    Number,
    Part,
    ball,
    box,
    cylinder,
    lathe,
    loft,
    panel,
    prism,
)

__all__ = ["bench", "mailbox", "trashcan"]


def bench(draw: Draw) -> list[Part]:
    """Build a park bench: slats for the seat and the back, on two or three frames."""
    wood, metal = draw.colour(), draw.grey(0.1, 0.4)
    half, seat, deep = draw.between(0.85, 1.1), draw.between(0.38, 0.46), draw.between(0.42, 0.55)
    tall, lean = draw.between(0.4, 0.55), draw.between(0.05, 0.2)
    parts = []
    slats = draw.whole(3, 5)
    for i in range(slats):
        z = -deep / 2 + deep * (i + 0.5) / slats
        parts.append(box((2 * half, 0.045, deep / slats * 0.72), (0, seat, z), wood))
    rows = draw.whole(2, 4)
    for i in range(rows):
        part = (i + 0.7) / rows
        z = -deep / 2 - lean * part
        parts.append(box((2 * half, tall / rows * 0.62, 0.04), (0, seat + tall * part, z), wood))
    frames = (-half * 0.85, half * 0.85) if draw.chance(0.6) else (-half * 0.85, 0.0, half * 0.85)
    arms = draw.chance(0.6)
    for x in frames:
        for z in (-deep / 2 + 0.03, deep / 2 - 0.03):
            parts.append(box((0.07, seat, 0.07), (x, seat / 2, z), metal))
        parts.append(box((0.07, 0.06, deep), (x, seat - 0.05, 0), metal))
        back = box((0.06, tall + 0.08, 0.05), (0, tall / 2, 0), metal).turned(
            0, -np.arctan(lean / tall)
        )
        parts.append(back.moved(x, seat, -deep / 2 - 0.03))
        if arms and x != 0:
            parts.append(box((0.07, 0.04, deep), (x, seat + 0.24, 0), metal))
            parts.append(box((0.05, 0.24, 0.05), (x, seat + 0.12, deep / 2 - 0.04), metal))
    return parts


def trashcan(draw: Draw) -> list[Part]:
    """Build a round can with a domed lid, an open round can with bars, or a bin on wheels."""
    body, trim, dark = draw.colour(), draw.grey(0.2, 0.6), (0.06, 0.06, 0.06)
    kind = draw.whole(0, 2)
    if kind == 2:
        return _wheeled_bin(draw, body, trim, dark)
    tall, low = draw.between(1.2, 1.6), draw.between(0.4, 0.48)
    high = low + draw.between(0.04, 0.14)
    rings = [(low, 0.0), (low + 0.02, 0.06), (high, tall)]
    parts = [lathe([*rings, (high - 0.05, tall), (low - 0.05, 0.1)], body, 20)]
    for part in (0.05, 0.95) if kind == 0 else (0.02, 0.5, 0.98):
        radius = low + (high - low) * part + 0.025
        hoop = [(radius, tall * part - 0.035), (radius, tall * part + 0.035)]
        parts.append(loft(_turn(hoop, 20), trim, capped=False))
    if kind == 0:
        dome = draw.between(0.22, 0.36)
        lid = [
            (high + 0.05, tall),
            (high + 0.05, tall + 0.08),
            (high * 0.8, tall + dome * 0.75),
            (high * 0.3, tall + dome),
        ]
        parts.append(lathe(lid, trim, 20))
        flap = [(high * 1.02 * np.sin(a), tall + h, high * 1.06 * np.cos(a) - h * 0.6) for a, h in
                ((-0.5, 0.1), (0.5, 0.1), (0.4, dome * 0.66), (-0.4, dome * 0.66))]  # fmt: skip
        parts.append(panel([(z, y, x) for x, y, z in flap], dark))
        parts.append(ball((0.07, 0.05, 0.07), trim, 5, 8).moved(0, tall + dome, 0))
    else:
        for k in range(10):
            angle = k / 10 * 2 * np.pi
            bar = box((0.04, tall * 0.9, 0.1), (0, tall / 2, 0), trim).turned(
                2, -np.arctan((high - low) / tall)
            )
            parts.append(bar.moved((low + high) / 2 + 0.02, 0, 0).turned(1, angle))
        bag = draw.grey(0.05, 0.15)
        rim = [(high - 0.06, tall - 0.1), (high + 0.03, tall + 0.03), (high - 0.08, tall + 0.05)]
        parts.append(lathe([*rim, (high * 0.6, tall - 0.2)], bag, 16))
    return parts


def _wheeled_bin(draw: Draw, body: Colour, trim: Colour, dark: Colour) -> list[Part]:
    tall, low, high = draw.between(1.25, 1.5), draw.between(0.34, 0.4), draw.between(0.48, 0.54)
    rings = [
        [(-s, y, -s), (s, y, -s), (s, y, s), (-s, y, s)] for y, s in ((0.08, low), (tall, high))
    ]
    edge = [[(x * 1.1, y + h, z * 1.1) for x, y, z in rings[1]] for h in (-0.1, 0.0)]
    front, back = high + 0.1, -high - 0.08
    ridge = [(front, tall + 0.07), (0.1, tall + 0.2), (back, tall + 0.14)]
    lid = prism([(back, tall + 0.01), (front, tall + 0.01), *ridge], high * 2.1, trim)
    parts = [loft(rings, body), loft(edge, body), lid]
    parts.append(cylinder(0.04, high * 1.5, 2, dark, 8).moved(-high - 0.16, tall + 0.02, 0))
    for z in (-high * 0.8, high * 0.8):
        parts.append(cylinder(0.17, 0.1, 2, dark, 14).moved(-low - 0.02, 0.17, z))
        parts.append(cylinder(0.07, 0.12, 2, trim, 8).moved(-low - 0.02, 0.17, z))
        parts.append(box((0.14, 0.08, 0.05), (-high - 0.1, tall, z), body))
    for i in range(3):
        y = tall * (0.3 + 0.2 * i)
        s = low + (high - low) * (y - 0.08) / (tall - 0.08) + 0.01
        parts.append(box((2 * s, 0.03, 2 * s), (0, y, 0), body))
    return parts


def mailbox(draw: Draw) -> list[Part]:
    """Build a letterbox on a post with a flag, or a street mailbox on four legs."""
    body, trim = draw.colour(), draw.colour()
    if draw.chance(0.6):
        length, half, wall = (
            draw.between(0.7, 0.9),
            draw.between(0.2, 0.26),
            draw.between(0.14, 0.22),
        )
        height = draw.between(0.95, 1.2)
        tunnel = _arch(half, wall)
        box_part = loft(
            [[(x, y + height, z) for y, z in tunnel] for x in (-length / 2, length / 2)], body
        )
        door = loft([[(x, y * 1.04 + height - 0.01, z * 1.06) for y, z in tunnel]
                     for x in (length / 2 - 0.01, length / 2 + 0.04)], trim)  # fmt: skip
        post = draw.between(0.06, 0.09)
        red = (0.85, 0.12, 0.1)
        raised = draw.between(0.24, 0.34)
        return [
            box_part, door,
            box((post * 2, height, post * 2), (0, height / 2, 0), (0.45, 0.32, 0.2)),
            box((length * 0.8, 0.05, half * 1.4), (0, height - 0.02, 0), (0.45, 0.32, 0.2)),
            box((0.05, raised, 0.03), (0.1, height + wall + raised / 2, half + 0.03), red),
            box((0.16, 0.11, 0.03), (0.05, height + wall + raised, half + 0.03), red),
            box((0.05, 0.1, 0.06), (length / 2 + 0.05, height + wall, 0), (0.3, 0.3, 0.3)),
        ]  # fmt: skip
    wide, deep, legs = draw.between(0.38, 0.46), draw.between(0.36, 0.42), draw.between(0.2, 0.32)
    wall = draw.between(0.75, 0.95)
    tunnel = [(legs + y, z) for y, z in _arch(deep, wall)]
    shell = loft([[(x, y, z) for y, z in tunnel] for x in (-wide, wide)], body)
    feet = [box((0.09, legs + 0.04, 0.09), (x * (wide - 0.06), legs / 2, z * (deep - 0.06)), body)
            for x in (-1, 1) for z in (-1, 1)]  # fmt: skip
    chute = [(legs + wall + 0.02, deep), (legs + wall + 0.26, deep * 0.74)]
    slot = [
        (-wide * 0.8, chute[0]),
        (wide * 0.8, chute[0]),
        (wide * 0.8, chute[1]),
        (-wide * 0.8, chute[1]),
    ]
    face = [panel([(x, y, z + 0.03) for x, (y, z) in slot], draw.grey(0.7, 0.9)),
            box((wide * 1.5, 0.05, 0.06), (0, legs + wall + 0.06, deep + 0.02), (0.08, 0.08, 0.08)),
            box((wide * 1.2, 0.34, 0.02), (0, legs + wall * 0.45, deep + 0.005), trim)]  # fmt: skip
    bands = [loft([[(x, y + 0.012, z * 1.04) for y, z in tunnel] for x in (a, a + 0.06)], body)
             for a in (-wide - 0.01, wide - 0.05)]  # fmt: skip
    turned = [part.turned(1, np.pi / 2) for part in (shell, *feet, *face, *bands)]
    return turned


def _arch(half: Number, wall: Number) -> list[tuple[Number, Number]]:
    """Outline (y, z) of a box with a round top."""
    angle = np.linspace(0, np.pi, 9)
    return [
        (0.0, -half),
        (0.0, half),
        *((wall + half * np.sin(a), half * np.cos(a)) for a in angle),
    ]


def _turn(
    profile: list[tuple[Number, Number]], segments: int
) -> list[list[tuple[Number, Number, Number]]]:
    angle = np.arange(segments) / segments * 2 * np.pi
    return [[(r * np.cos(a), h, r * np.sin(a)) for a in angle] for r, h in profile]
