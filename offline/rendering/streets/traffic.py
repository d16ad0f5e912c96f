"""What drives, is parked and stands along a street: the subject first, then who has room."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from offline.rendering.meshes.mesh import Mesh
from offline.rendering.procedural.parts import Draw
from offline.rendering.streets.models import VEHICLES, StreetModels
from offline.rendering.streets.settings import HALF, LANE, StreetSettings

__all__ = ["Standing", "draw_subject", "draw_traffic"]

PARKABLE = ("car", "motorcycle", "bicycle")
CAR, WALK = 1.05, 1.6  # from the kerb to the middle of what is parked, and of what stands by it


class Standing(NamedTuple):
    """A mesh that stands in the street, at x and z, turned by degrees about the vertical."""

    name: str
    mesh: Mesh
    x: float
    z: float
    turn: float = 0.0
    scale: float = 1.0


def draw_subject(
    draw: Draw,
    generator: torch.Generator,
    size: tuple[int, int],
    settings: StreetSettings,
    models: StreetModels,
    camera: Tensor,
) -> Standing:
    """Place an object of a random class where the camera [8] of an image of `size` sees it."""
    name = settings.subjects[draw.whole(0, len(settings.subjects) - 1)]
    mesh, scale = models.draw(name, generator)
    side = 1 if draw.chance(0.5) else -1
    if name not in VEHICLES:
        x, turn = side * (HALF + WALK), _facing(name, side)
    elif name in PARKABLE and (name != "car" or draw.chance(0.5)):
        x, turn = side * (HALF - CAR), 90.0 * side
    else:
        x, turn = side * LANE / 2, 90.0 * side
    # As far as it takes to see all of it.
    away, azimuth, elevation = camera[:3].tolist()
    eye = float(camera[5]) + away * math.cos(elevation) * math.sin(azimuth)
    most = math.atan(math.tan(float(camera[3]) / 2) * size[1] / size[0])
    wide = 1.6
    distance = draw.between(*settings.distance)
    while max(abs(math.atan2(x + w - eye, distance) + azimuth) for w in (-wide, wide)) > most:
        distance += 0.5
    return Standing(name, mesh, x, -distance - _length(mesh, turn) * scale / 2, turn, scale)


def draw_traffic(
    draw: Draw,
    generator: torch.Generator,
    settings: StreetSettings,
    models: StreetModels,
    subject: Standing,
) -> list[Standing]:
    """Drive and park vehicles where there is room for them."""
    names = models.available(VEHICLES)
    if not names:
        return []
    half = _length(subject.mesh, subject.turn) * subject.scale / 2
    taken = {x: [(-4.0, 10.0)] for x in (LANE / 2, -LANE / 2, HALF - CAR, CAR - HALF)}
    for x, spans in taken.items():
        if x * subject.x > 0 and abs(x) <= abs(subject.x):
            spans.append((subject.z - half, 0.0))
    found = []
    for _ in range(settings.vehicles):
        parked = draw.chance(0.55)
        choice = [name for name in names if name in PARKABLE] if parked else names
        if not choice:
            continue
        name = "car" if "car" in choice and draw.chance(0.7) else _any(draw, choice)
        mesh, scale = models.draw(name, generator)
        side = 1 if draw.chance(0.5) else -1
        x = side * (HALF - CAR if parked else LANE / 2)
        turn, z = 90.0 * side, -draw.between(5, settings.length * 0.7)
        reach = _length(mesh, turn) * scale / 2 + (0.6 if parked else 3)
        if all(z + reach < low or z - reach > high for low, high in taken[x]):
            taken[x].append((z - reach, z + reach))
            found.append(Standing(name, mesh, x, z, turn, scale))
    return found


def _facing(name: str, side: int) -> float:
    """Return the turn by which what stands on a pavement faces the road."""
    return -90.0 * side if name == "bench" else 90.0 + 90.0 * side


def _length(mesh: Mesh, turn: float) -> float:
    """Measure a mesh along the road, turned by a multiple of 90 degrees."""
    axis = 0 if round(turn / 90) % 2 else 2
    return float(mesh.vertices[:, axis].amax() - mesh.vertices[:, axis].amin())


def _any(draw: Draw, names: Sequence[str]) -> str:
    return names[draw.whole(0, len(names) - 1)]
