"""Random street scenes: a road between houses, traffic, and one object that the scene is about."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from guard.settings import Settings
from offline.rendering.composing import compose
from offline.rendering.daylight import WEATHERS, WeatherName, daylight
from offline.rendering.houses import house
from offline.rendering.meshes import Mesh
from offline.rendering.procedural.parts import Draw
from offline.rendering.sampling import Range
from offline.rendering.scene import Scene, concatenate
from offline.rendering.sky import sky_image
from offline.rendering.street_models import VEHICLES, StreetModels
from offline.rendering.street_parts import (
    KERB,
    LAMP_HEIGHT,
    carriageway,
    pavement,
    street_lamp,
    tree,
)

__all__ = ["StreetSettings", "sample_streets"]


class StreetSettings(Settings):
    """What streets are drawn from; lengths in metres.

    Attributes:
        hour: solar time.
        weather: one of these for each scene.
        subjects: one of these classes is each scene's first object.
        distance: from the camera to the subject, along the road.
        view: from a car, from the pavement, or either.
        field_of_view: degrees, from the lower to the upper border.
        vehicles: most others beside the subject, driving and parked.
        length: of the road.
        models: a folder of CLASS/MESH to draw objects from, instead of procedural ones.
    """

    hour: Range = (6.0, 20.0)
    weather: tuple[WeatherName, ...] = Field(("clear", "cloudy", "hazy", "overcast"), min_length=1)
    subjects: tuple[str, ...] = Field(
        ("car", "bus", "motorcycle", "bench", "trashcan", "mailbox"), min_length=1
    )
    distance: Range = (6.0, 13.0)
    view: Literal["driver", "roadside", "either"] = "either"
    field_of_view: Range = (38.0, 46.0)
    vehicles: int = Field(12, ge=0, le=30)
    length: float = Field(110.0, ge=40, le=400)
    models: Path | None = None


LANE, HALF, PAVEMENT = 3.2, 5.3, 3.8  # of a lane, of the road from its middle, of a pavement
LAMP_LIGHT = (13.0, 9.2, 5.2)
LAMPS = 8  # lights of lamps further away are left out
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


def sample_streets(
    count: int,
    generator: torch.Generator,
    size: tuple[int, int],
    settings: StreetSettings | None = None,
    models: StreetModels | None = None,
) -> Scene:
    """Draw streets, each with its subject first, for images of `size` (height, width) in pixels.

    The camera looks down the road, along -z, from a driver's or a passer-by's height. Nothing
    overlaps: what drives or is parked has its own part of its lane. Street lamps are on in the
    dark. `StreetModels.classes` names the numbers in `Scene.classes`; the sky is no object.
    Everything is drawn from the generator, on the CPU.

    Raises:
        BadInput: a subject cannot be in a street, or the folder of models has none.
    """
    settings = settings or StreetSettings()
    models = models or StreetModels(settings.models)
    return concatenate([_street(generator, size, settings, models) for _ in range(count)])


def _street(
    generator: torch.Generator,
    size: tuple[int, int],
    settings: StreetSettings,
    models: StreetModels,
) -> Scene:
    draw = Draw(generator)
    camera = _camera(draw, settings)
    subject = _subject(draw, generator, size, settings, models, camera)
    things = [subject, Standing("road", carriageway(draw, HALF, LANE, settings.length), 0, 0)]
    things.append(Standing("pavement", pavement(draw, HALF, PAVEMENT, settings.length), 0, 0))
    things += _traffic(draw, generator, settings, models, subject)
    for side in (-1, 1):
        # What stands between the camera and the subject would hide it.
        clear = subject.z - 4 if side * subject.x > LANE else -9.0
        things += _houses(draw, side, settings.length)
        things += _row(draw, side, clear, settings.length)
    scene = _stood(things, models)
    hour = torch.tensor([draw.between(*settings.hour)])
    weather = WEATHERS[settings.weather[draw.whole(0, len(settings.weather) - 1)]]
    day = daylight(hour, [weather], torch.tensor([draw.between(0, 2 * math.pi)]))
    lit = [(t.x - 1.3 * math.copysign(1, t.x), KERB + LAMP_HEIGHT, t.z, *LAMP_LIGHT)
           for t in things if t.name == "street lamp"]  # fmt: skip
    lamps = torch.tensor(sorted(lit, key=lambda lamp: -lamp[2])[:LAMPS]).reshape(-1, 6)
    lamps[:, 3:] *= day.darkness
    camera = camera[None]
    return dataclasses.replace(
        scene,
        camera=camera,
        light=day.light,
        lamps=lamps[None, : len(lamps) if float(day.darkness) > 1e-3 else 0],
        environment=day.environment,
        fog=day.fog,
        background=sky_image(day.sky, camera, *size),
    )


def _camera(draw: Draw, settings: StreetSettings) -> Tensor:
    driver = draw.chance(0.5) if settings.view == "either" else settings.view == "driver"
    if driver:
        eye = (LANE / 2 + draw.between(-0.3, 0.3), draw.between(1.3, 1.7))
        azimuth = draw.between(-0.05, 0.05)
    else:
        side = 1 if draw.chance(0.5) else -1
        eye = (side * (HALF + draw.between(0.6, 1.4)), draw.between(1.5, 2.4))
        azimuth = side * draw.between(0.1, 0.2)
    elevation, away = draw.between(0.0, 0.05), 10.0
    target = (eye[0] - away * math.cos(elevation) * math.sin(azimuth),
              eye[1] - away * math.sin(elevation),
              -away * math.cos(elevation) * math.cos(azimuth))  # fmt: skip
    field = math.radians(draw.between(*settings.field_of_view))
    return torch.tensor((away, azimuth, elevation, field, 0, *target))


def _subject(
    draw: Draw,
    generator: torch.Generator,
    size: tuple[int, int],
    settings: StreetSettings,
    models: StreetModels,
    camera: Tensor,
) -> Standing:
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


def _traffic(
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


def _houses(draw: Draw, side: int, length: float) -> list[Standing]:
    """Build up one side of the road, with a garden between two houses now and then."""
    found, z = [], -1.5
    while z > -length:
        front, deep = draw.between(8, 15), draw.between(8, 11)
        mesh = house(draw, front, deep, draw.whole(2, 5))
        x = side * (HALF + PAVEMENT + 0.15)
        found.append(Standing("building", mesh, x, z - front / 2, -90.0 * side))
        z -= front + (draw.between(3, 8) if draw.chance(0.3) else 0.05)
    return found


def _row(draw: Draw, side: int, start: float, length: float) -> list[Standing]:
    """Stand trees and lamps along one kerb, from z = `start` on."""
    found, z, lamp = [], start - draw.between(0, 4), draw.chance(0.5)
    while z > -length:
        if lamp:
            found.append(
                Standing("street lamp", street_lamp(), side * (HALF + 0.5), z, 90.0 + 90 * side)
            )
        elif draw.chance(0.75):
            turn = draw.between(0, 360)
            found.append(Standing("tree", tree(draw), side * (HALF + 1.0), z, turn))
        z -= draw.between(7, 9)
        lamp = not lamp
    return found


def _stood(things: Sequence[Standing], models: StreetModels) -> Scene:
    """Compose the scene, with all feet on the ground."""
    scene = compose([[t.mesh for t in things]], [[models.classes.index(t.name) for t in things]])
    pose = torch.zeros_like(scene.pose)
    pose[0, :, 1] = torch.deg2rad(torch.tensor([float(t.turn) for t in things]))
    lows = [float(t.mesh.vertices[:, 1].min()) * t.scale for t in things]
    floors = [KERB if abs(t.x) > HALF else 0.0 for t in things]
    places = [(t.x, floor - low, t.z) for t, low, floor in zip(things, lows, floors, strict=True)]
    return scene.replace(
        pose=pose,
        translation=torch.tensor(places)[None].float(),
        scale=torch.tensor([[float(t.scale) for t in things]]),
    )


def _facing(name: str, side: int) -> float:
    """Return the turn by which what stands on a pavement faces the road."""
    return -90.0 * side if name == "bench" else 90.0 + 90.0 * side


def _length(mesh: Mesh, turn: float) -> float:
    """Measure a mesh along the road, turned by a multiple of 90 degrees."""
    axis = 0 if round(turn / 90) % 2 else 2
    return float(mesh.vertices[:, axis].amax() - mesh.vertices[:, axis].amin())


def _any(draw: Draw, names: Sequence[str]) -> str:
    return names[draw.whole(0, len(names) - 1)]
