"""Motorcycles, helmets and skateboards."""

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
    prism,
    ring,
    sheet,
)

__all__ = ["helmet", "motorcycle", "skateboard"]


def motorcycle(draw: Draw) -> list[Part]:
    """Build a motorcycle: two thin wheels in line, tank, seat, engine, fork and handlebar."""
    body, steel, dark = draw.colour(), draw.grey(0.5, 0.75), draw.grey(0.06, 0.15)
    radius, half = draw.between(0.3, 0.36), draw.between(0.66, 0.78)
    rake, top = draw.between(0.2, 0.34), draw.between(0.95, 1.12)
    parts = []
    for x in (-half, half):
        wheel = [ring(radius - 0.06, 0.062, dark, 18), cylinder(0.06, 0.14, 2, steel, 8)]
        for k in range(3):
            wheel.append(
                box((2 * radius - 0.1, 0.03, 0.03), (0, 0, 0), steel).turned(2, k * np.pi / 3)
            )
        parts += [part.moved(x, radius, 0) for part in wheel]
    head = (half - rake, top - 0.12)
    for z in (-0.08, 0.08):
        parts.append(_bar((half, radius, z), (*head, z), 0.025, steel))
        parts.append(_bar((-half, radius, z), (-0.12, 0.42, z), 0.025, steel))
        parts.append(_bar((-half + 0.1, 0.62, z), (-half, radius, z), 0.02, steel))
    parts.append(_bar((head[0] - 0.05, top, -0.34), (head[0] - 0.05, top, 0.34), 0.022, dark))
    parts.append(
        ball((0.09, 0.09, 0.09), (1.0, 0.95, 0.7), 6, 10).moved(head[0] + 0.1, top - 0.14, 0)
    )
    tank = ball((0.27, draw.between(0.12, 0.16), 0.14), body, 6, 12)
    parts.append(tank.moved(0.14, top - 0.24, 0))
    seat = draw.between(0.66, 0.72)
    outline = [(-0.66, seat + 0.06), (-0.6, seat - 0.05), (-0.05, seat - 0.07), (0.0, seat + 0.05),
               (-0.3, seat + 0.01)]  # fmt: skip
    parts.append(prism(outline, 0.24, dark))
    parts.append(box((0.44, 0.3, 0.2), (0.0, 0.4, 0), steel))
    parts.append(cylinder(0.11, 0.26, 2, draw.grey(0.3, 0.5), 10).moved(0.02, 0.36, 0))
    parts.append(_bar((-0.3, 0.55, 0), (head[0], head[1], 0), 0.04, body))
    for z in (-0.16, 0.16):
        parts.append(_bar((0.1, 0.28, z), (-half - 0.05, 0.3, z), 0.045, steel))
    arc = ((2.6, 0.1), (2.1, 0.1), (1.6, 0.1), (1.0, 0.1), (1.0, 0.05), (1.6, 0.03), (2.6, 0.03))
    fender = [(np.cos(a) * (radius + r), np.sin(a) * (radius + r)) for a, r in arc]
    parts.append(prism(fender, 0.16, body).moved(-half, radius, 0))
    if draw.chance(0.5):  # a sports fairing in front of the fork
        shell = [(-0.15, -0.3), (0.2, -0.1), (0.22, 0.1), (-0.02, 0.28), (-0.2, 0.0)]
        parts.append(prism(shell, 0.26, body).moved(head[0] + 0.02, top - 0.2, 0))
    return parts


def helmet(draw: Draw) -> list[Part]:
    """Build a full-face helmet with a visor, an open one with a peak, or a vented cycle helmet."""
    shell, trim, glass = draw.colour(), draw.colour(), draw.grey(0.08, 0.2)
    kind = draw.whole(0, 2)
    return (_full_face, _peaked, _vented)[kind](draw, shell, trim, glass)


def skateboard(draw: Draw) -> list[Part]:
    """Build a skateboard: a thin deck with raised ends on two axles of small wheels."""
    deck, grip, wheel = draw.colour(), draw.grey(0.1, 0.3), draw.colour()
    half, wide, thick = 1.0, draw.between(0.24, 0.3), 0.035
    kick, flat = draw.between(0.1, 0.2), draw.between(0.58, 0.68)
    height = draw.between(0.2, 0.26)
    along = np.array(
        [-half, -half + 0.06, -flat - 0.15, -flat, flat, flat + 0.15, half - 0.06, half]
    )
    rings = []
    for x in along:
        lift = kick * max(abs(x) - flat, 0) / (half - flat)
        end = max(abs(x) - flat, 0) / (half - flat)
        z = wide * np.sqrt(max(1 - end**2, 0.04))
        y = height + lift
        rings.append([(x, y, -z), (x, y + thick, -z), (x, y + thick, z), (x, y, z)])
    top = loft(rings, deck)
    order = np.arange(len(top.faces))
    upper = (order < 8 * (len(along) - 1)) & (order % 8 // 2 == 1)
    parts = [Part(top.vertices, top.faces, np.where(upper[:, None], grip, top.colours))]
    radius = draw.between(0.085, 0.11)
    for x in (-flat + 0.08, flat - 0.08):
        steel = draw.grey(0.5, 0.7)
        parts.append(box((0.2, 0.03, 0.16), (x, height - 0.015, 0), steel))
        parts.append(prism([(-0.07, 0), (0.07, 0), (0.03, -0.12), (-0.03, -0.12)], 0.1, steel)
                     .moved(x, height - 0.01, 0))  # fmt: skip
        parts.append(cylinder(0.03, wide * 1.9, 2, steel, 8).moved(x, radius, 0))
        for z in (-wide * 0.9, wide * 0.9):
            parts.append(cylinder(radius, 0.12, 2, wheel, 14).moved(x, radius, z))
            parts.append(cylinder(radius * 0.4, 0.13, 2, steel, 8).moved(x, radius, z))
    return parts


def _full_face(draw: Draw, shell: Colour, trim: Colour, glass: Colour) -> list[Part]:
    size = _size(draw)
    low, high = draw.between(-0.3, -0.2), draw.between(0.25, 0.4)
    rim = lathe([(0.6, -0.86), (0.72, -0.72), (0.6, -0.68)], glass, 18).stretched(*size)
    chin = ball((0.3, 0.22, 0.5), shell, 6, 12).moved(size[0] * 0.72, -0.52 * size[1], 0)
    parts = [_dome(-0.75, size, shell, shell), rim, chin, _visor(low, high, size, glass)]
    return [*parts, _strip(-0.97, 0.7, draw.between(-0.2, 0.2), size, trim)]


def _peaked(draw: Draw, shell: Colour, trim: Colour, glass: Colour) -> list[Part]:
    size = _size(draw)
    peak = prism([(0.2, -0.75), (1.1, -0.5), (1.4, 0), (1.1, 0.5), (0.2, 0.75)], 0.06, trim)
    parts = [_dome(-0.15, size, shell, trim), peak.turned(0, np.pi / 2).moved(0, -0.12, 0)]
    for side in (-1, 1):
        strap = box((0.06, 0.75, 0.03), (0.1, -0.45, side * 0.6), glass)
        parts.append(strap.turned(0, -side * 0.24))
        ear = ball((0.32, 0.36, 0.1), shell, 6, 12)
        parts.append(ear.moved(-0.1, -0.3, side * 0.85 * size[2]))
    return [*parts, box((1.3, 0.08, 0.12), (-0.05, size[1] * 0.92, 0), trim)]


def _vented(draw: Draw, shell: Colour, trim: Colour, glass: Colour) -> list[Part]:
    x, y, z = _size(draw)
    size = (x * 1.15, y * 0.8, z)
    parts = [_dome(-0.1, size, shell, trim)]
    for across in (-0.42, -0.14, 0.14, 0.42):
        for start in (-0.75, 0.12):
            parts.append(_strip(start, start + 0.62, across, size, glass))
    for side in (-1, 1):
        strap = box((0.05, 0.7, 0.03), (0.15, -0.35, side * 0.6), glass)
        parts.append(strap.turned(0, side * 0.3))
    return parts


def _size(draw: Draw) -> tuple[Number, Number, Number]:
    return draw.between(0.95, 1.1), draw.between(0.8, 0.95), draw.between(0.75, 0.85)


def _dome(cut: Number, size: tuple[Number, Number, Number], colour: Colour, hem: Colour) -> Part:
    """Make an ellipsoid cut off below a part `cut` of its height; its lowest band is the hem."""
    angle = np.linspace(np.arcsin(cut), np.pi / 2, 10)
    profile = [*zip(np.cos(angle[:-1]), np.sin(angle[:-1]), strict=True), (1e-3, 1.0)]
    dome = lathe(profile, colour, 24).stretched(*size)
    return dome.painted(hem, lambda c: c[:, 1] < np.sin(angle[1]) * size[1])


def _visor(low: Number, high: Number, size: tuple[Number, Number, Number], colour: Colour) -> Part:
    """Make a sheet just above the front of an ellipsoid, between two angles of elevation."""
    up, around = np.meshgrid(np.linspace(low, high, 4), np.linspace(-1.15, 1.15, 13), indexing="ij")
    points = (np.cos(up) * np.cos(around), np.sin(up), np.cos(up) * np.sin(around))
    return sheet(np.stack(points, axis=2) * np.array(size) * 1.03, colour)


def _strip(
    a: Number, b: Number, z: Number, size: tuple[Number, Number, Number], colour: Colour
) -> Part:
    """Make a band just above an ellipsoid, from x = a to x = b, at z, all in parts of its size."""
    x, across = np.meshgrid(np.linspace(a, b, 9), (z - 0.06, z + 0.06), indexing="ij")
    up = np.sqrt(np.maximum(1 - x**2 - across**2, 0))
    return sheet(np.stack((x * 1.02, up * 1.03, across * 1.02), axis=2) * np.array(size), colour)


def _bar(
    a: tuple[Number, Number, Number], b: tuple[Number, Number, Number], r: Number, colour: Colour
) -> Part:
    """Make a square bar from one point to another."""
    start, end = np.array(a), np.array(b)
    run = (end - start) / np.linalg.norm(end - start)
    aside = np.cross(run, (0.0, 0.3, 1.0) if abs(run[2]) < 0.9 else (0.0, 1.0, 0.0))
    aside *= r / np.linalg.norm(aside)
    up = np.cross(run, aside)
    return loft([[p + aside, p + up, p - aside, p - up] for p in (start, end)], colour)
