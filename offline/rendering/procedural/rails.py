"""Trains: a steam engine, or a power car, each with a carriage, on a track."""

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
from offline.rendering.procedural.road import wheels

__all__ = ["train"]


def train(draw: Draw) -> list[Part]:
    """Build an engine, steam or electric, with one carriage on a track."""
    body, glass = draw.colour(), draw.grey(0.1, 0.25)
    parts = _track()
    if draw.chance(0.4):
        parts += _steam_engine(draw, body)
        start = 0.42
    else:
        parts += _power_car(draw, body, glass)
        start = 0.5
    length, height = draw.between(0.85, 1.0), draw.between(0.5, 0.56)
    end = start - 0.06
    return parts + _carriage(draw, end - length, end, height, body, glass)


def _carriage(
    draw: Draw, back: Number, front: Number, height: Number, body: Colour, glass: Colour
) -> list[Part]:
    middle, length, width = (back + front) / 2, front - back, 0.38
    parts = [
        box((length, height - 0.2, width), (middle, height / 2 + 0.08, 0), body),
        box((length * 0.98, 0.05, width * 0.8), (middle, height + 0.0, 0), draw.grey(0.3, 0.6)),
        box((0.1, 0.05, 0.08), (front + 0.03, 0.15, 0), (0.15, 0.15, 0.15)),
    ]
    count = 4
    for z in (-width / 2 - 0.006, width / 2 + 0.006):
        step = length / count
        for i in range(count):
            x = back + step * (i + 0.18)
            low, high = height - 0.2, height - 0.07
            parts.append(_window(x, x + step * 0.64, low, high, z, glass))
    axles = (back + 0.13, back + 0.28, front - 0.28, front - 0.13)
    return [*parts, *_bogie_wheels(axles)]


def _power_car(draw: Draw, body: Colour, glass: Colour) -> list[Part]:
    width, height, nose = 0.38, draw.between(0.52, 0.6), draw.between(0.15, 0.6)
    sections = []
    for part, tall, wide in ((0.0, 1, 1), (0.35, 0.93, 0.97), (0.7, 0.68, 0.85), (1.0, 0.4, 0.6)):
        x = 1.35 - nose + part * nose
        sections.append(_section(x, 0.12, 0.12 + (height - 0.12) * tall, width * wide))
    parts = [loft([_section(0.5, 0.12, height, width), *sections], body)]
    band = draw.colour()
    for z in (-width / 2 - 0.006, width / 2 + 0.006):
        parts.append(_window(0.5, 1.35 - nose, 0.2, 0.26, z, band))
        for x in (0.56, 0.74):
            parts.append(_window(x, x + 0.12, height - 0.2, height - 0.07, z, glass))
    low, high = 0.12 + (height - 0.12) * 0.75, 0.12 + (height - 0.12) * 0.96
    a, b = 1.35 - nose * 0.36, 1.35 - nose * 0.82
    corners = [(a + 0.02, low, -0.15), (a + 0.02, low, 0.15), (b, high, 0.16), (b, high, -0.16)]
    parts.append(panel(corners, glass).moved(0.06 * nose + 0.01, 0.03, 0))
    for z in (-0.1, 0.1):
        parts.append(box((0.04, 0.05, 0.06), (1.34, 0.2, z), (1.0, 0.95, 0.7)))
    if draw.chance(0.6):  # the current collector on the roof
        parts.append(box((0.3, 0.02, 0.04), (0.75, height + 0.08, 0), (0.2, 0.2, 0.2)))
        parts.append(box((0.03, 0.12, 0.03), (0.65, height + 0.03, 0), (0.2, 0.2, 0.2)))
    return [*parts, *_bogie_wheels((0.6, 0.75, 1.0, 1.15))]


def _steam_engine(draw: Draw, body: Colour) -> list[Part]:
    dark, brass = draw.grey(0.1, 0.22), (0.8, 0.65, 0.25)
    radius = draw.between(0.15, 0.19)
    axis, cab = 0.24 + radius, draw.between(0.66, 0.76)
    stack = draw.between(0.16, 0.26)
    parts = [
        box((0.95, 0.07, 0.34), (0.92, 0.2, 0), dark),
        cylinder(radius, 0.75, 0, body, 16).moved(1.05, axis, 0),
        cylinder(radius * 1.05, 0.12, 0, dark, 16).moved(1.38, axis, 0),
        box((0.34, cab - 0.22, 0.4), (0.61, (cab + 0.22) / 2, 0), body),
        box((0.42, 0.04, 0.46), (0.61, cab, 0), dark),
        lathe([(0.05, 0), (0.05, stack), (0.085, stack + 0.06)], dark, 10).moved(
            1.32, axis + radius - 0.03, 0
        ),
        lathe([(0.06, 0), (0.06, 0.07), (0.02, 0.1)], brass, 10).moved(
            1.02, axis + radius - 0.02, 0
        ),
        cylinder(0.05, 0.06, 0, (1.0, 0.95, 0.7), 8).moved(1.46, axis + 0.08, 0),
    ]
    for z in (-0.206, 0.206):
        parts.append(_window(0.52, 0.7, cab - 0.2, cab - 0.06, z, (0.12, 0.12, 0.15)))
        parts.append(box((0.55, 0.03, 0.02), (0.95, 0.16, z * 1.05), brass))
    for x in (1.42, 1.46, 1.5):  # the cow-catcher
        parts.append(box((0.04, 0.12 - (x - 1.42), 0.36 - (x - 1.42) * 2), (x, 0.12, 0), dark))
    large = wheels(0.13, 0.04, (0.62, 0.9, 1.18), 0.18, dark, body)
    return [part.moved(0, 0.03, 0) for part in large] + parts


def _track() -> list[Part]:
    rail, sleeper = (0.5, 0.45, 0.42), (0.35, 0.26, 0.2)
    parts = [box((2.3, 0.04, 0.03), (0.45, 0.02, z), rail) for z in (-0.15, 0.15)]
    return parts + [box((0.07, 0.03, 0.5), (-0.6 + 0.19 * i, 0, 0), sleeper) for i in range(12)]


def _bogie_wheels(axles: tuple[Number, ...]) -> list[Part]:
    wheel = cylinder(0.07, 0.34, 2, (0.12, 0.12, 0.12), 10)
    return [wheel.moved(x, 0.1, 0) for x in axles]


def _window(a: Number, b: Number, low: Number, high: Number, z: Number, colour: Colour) -> Part:
    return panel([(a, low, z), (b, low, z), (b, high, z), (a, high, z)], colour)


def _section(
    x: Number, low: Number, high: Number, width: Number
) -> list[tuple[Number, Number, Number]]:
    half, shoulder = width / 2, low + (high - low) * 0.75
    return [(x, low, -half), (x, low, half), (x, shoulder, half), (x, high, half * 0.6),
            (x, high, -half * 0.6), (x, shoulder, -half)]  # fmt: skip
