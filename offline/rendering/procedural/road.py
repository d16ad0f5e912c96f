"""Cars and buses: bodies with windows, on wheels."""

from collections.abc import Sequence

from offline.rendering.procedural.parts import (
    Colour,
    Draw,
    Number,
    Part,
    box,
    cylinder,
    panel,
    prism,
)

__all__ = ["bus", "car", "pane", "wheels"]

LAMP: Colour = (1.0, 0.95, 0.7)
REAR_LAMP: Colour = (0.8, 0.1, 0.1)


def car(draw: Draw) -> list[Part]:
    """Build a car: saloon, hatchback, estate or pick-up by where its roof starts and ends."""
    body, glass, tyre = draw.colour(), draw.grey(0.1, 0.25), draw.grey(0.05, 0.12)
    width, clear = draw.between(0.75, 0.9), draw.between(0.1, 0.16)
    waist = clear + draw.between(0.28, 0.38)
    roof = waist + draw.between(0.26, 0.38)
    bonnet = draw.between(0.35, 0.6)
    rear = draw.between(-0.95, -0.5) if draw.chance(0.6) else draw.between(-0.5, -0.25)
    front = 1 - bonnet
    nose = waist - draw.between(0.04, 0.1)
    shell = [(-1, clear), (1, clear), (1.02, nose - 0.06), (0.95, nose), (front, waist),
             (-0.97, waist), (-1.03, waist - 0.12)]  # fmt: skip
    slope, back = draw.between(0.2, 0.35), draw.between(0.05, 0.25)
    lower = [(rear, waist - 0.01), (front, waist - 0.01)]
    upper = [(rear + back, roof), (front - slope, roof)]
    cabin = prism([*lower, upper[1], upper[0]], width * 0.88, body)
    side = width * 0.44 + 0.006
    parts = [prism(shell, width, body), cabin]
    for z in (-side, side):
        middle = (rear + front) / 2 - 0.05
        for low, high in ((0.03, 0.5), (0.53, 0.97)):
            parts.append(pane(lower, upper, low, high, z, glass))
        parts.append(box((0.1, 0.025, 0.02), (middle, waist - 0.08, z * 1.13), tyre))
    half = width * 0.4
    for a, b, out in ((lower[1], upper[1], 0.008), (lower[0], upper[0], -0.008)):
        a, b = _between(a, b, 0.12), _between(a, b, 0.9)
        parts.append(
            panel(
                [(x + out, y + 0.008, z) for x, y, z in
                 ((*a, -half), (*a, half), (*b, half), (*b, -half))], glass,
            )
        )  # fmt: skip
    for z in (-width * 0.36, width * 0.36):
        parts.append(box((0.04, 0.09, 0.16), (1.01, nose - 0.1, z), LAMP))
        parts.append(box((0.04, 0.09, 0.14), (-1.01, waist - 0.1, z), REAR_LAMP))
    for x in (1.02, -1.02):
        parts.append(box((0.06, 0.08, width), (x, clear + 0.07, 0), draw.grey(0.2, 0.5)))
    radius = draw.between(0.19, 0.24)
    return [*parts, *wheels(radius, 0.14, (-0.62, 0.62), width / 2, tyre, draw.grey(0.5, 0.8))]


def bus(draw: Draw) -> list[Part]:
    """Build a single-deck or double-deck bus: a long box with rows of windows and doors."""
    body, stripe, glass = draw.colour(), draw.colour(), draw.grey(0.1, 0.25)
    double = draw.chance(0.25)
    width, clear, half = draw.between(0.5, 0.58), 0.1, draw.between(0.95, 1.15)
    roof = clear + (draw.between(0.95, 1.1) if double else draw.between(0.58, 0.7))
    lean = draw.between(0.0, 0.06)
    outline = [(-half, clear), (half, clear), (half, clear + 0.3), (half - lean, roof - 0.05),
               (half - lean - 0.05, roof), (-half + 0.05, roof), (-half, roof - 0.05)]  # fmt: skip
    parts = [prism(outline, width, body)]
    decks = [(roof - 0.36, roof - 0.12)] + ([(clear + 0.2, clear + 0.44)] if double else [])
    side, count = width / 2 + 0.006, draw.whole(5, 8)
    for z in (-side, side):
        for low, high in decks:
            step = (2 * half - 0.2) / count
            for i in range(count):
                x = -half + 0.1 + i * step
                pane_at = [(x, low), (x + step * 0.86, low)], [(x, high), (x + step * 0.86, high)]
                parts.append(pane(*pane_at, 0, 1, z, glass))
        parts.append(box((2 * half, 0.04, 0.012), (0, clear + 0.12, z), stripe))
        for x in (half - 0.2, -0.05):
            door = [(x, clear + 0.03), (x + 0.13, clear + 0.03)]
            top = [(x, clear + 0.44), (x + 0.13, clear + 0.44)]
            parts.append(pane(door, top, 0, 1, z * 1.02, draw.grey(0.25, 0.4)))
    for x, out in ((half + 0.006, 0.0), (-half - 0.006, 0.0)):
        for low, high in decks:
            across = [(x - lean * (x > 0) * (y > 0.5) + out + 0.01 * (x > 0), y, z) for y, z in
                      ((low - 0.06, -0.42 * width), (low - 0.06, 0.42 * width),
                       (high, 0.42 * width), (high, -0.42 * width))]  # fmt: skip
            parts.append(panel(across, glass))
        for z in (-width * 0.36, width * 0.36):
            lamp = LAMP if x > 0 else REAR_LAMP
            parts.append(box((0.02, 0.06, 0.1), (x, clear + 0.09, z), lamp))
    if draw.chance(0.6):
        unit = (draw.between(0.3, 0.6), 0.06, width * 0.6)
        parts.append(box(unit, (draw.between(-0.4, 0.2), roof + 0.03, 0), draw.grey(0.5, 0.8)))
    axles = (-half * 0.62, half * 0.62)
    tyre, hub = draw.grey(0.05, 0.12), draw.grey(0.5, 0.8)
    return [*parts, *wheels(draw.between(0.12, 0.15), 0.08, axles, width / 2, tyre, hub)]


def wheels(
    radius: Number, thick: Number, axles: Sequence[Number], half: Number, tyre: Colour, hub: Colour
) -> list[Part]:
    """Put a wheel on both sides of each axle (x), its outer face just outside z = ±half."""
    parts = []
    for x in axles:
        for sign in (-1, 1):
            z = sign * (half - thick / 2 + 0.02)
            parts.append(cylinder(radius, thick, 2, tyre, 16).moved(x, radius, z))
            disc = cylinder(radius * 0.55, thick + 0.02, 2, hub, 8)
            parts.append(disc.moved(x, radius, z))
    return parts


def pane(
    lower: Sequence[tuple[Number, Number]],
    upper: Sequence[tuple[Number, Number]],
    start: Number,
    end: Number,
    z: Number,
    colour: Colour,
) -> Part:
    """Glaze a part of the wall between a lower and an upper line, each of two points (x, y)."""
    corners = []
    for part, height in ((start, 0.12), (end, 0.12), (end, 0.88), (start, 0.88)):
        low, high = _between(lower[0], lower[1], part), _between(upper[0], upper[1], part)
        corners.append((*_between(low, high, height), z))
    return panel(corners, colour)


def _between(
    a: tuple[Number, Number], b: tuple[Number, Number], part: Number
) -> tuple[Number, Number]:
    return a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1])
