"""Random street scenes: a road between houses, traffic, and one object that the scene is about."""

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from guard.errors import BadInput
from offline.rendering.composing import compose
from offline.rendering.procedural.parts import Draw
from offline.rendering.scene import Scene, concatenate
from offline.rendering.streets.daylight import WEATHERS, daylight
from offline.rendering.streets.houses import house
from offline.rendering.streets.models import StreetModels
from offline.rendering.streets.parts import (
    KERB,
    LAMP_HEIGHT,
    carriageway,
    ground,
    pavement,
    street_lamp,
    tree,
)
from offline.rendering.streets.settings import HALF, LANE, PAVEMENT, StreetSettings
from offline.rendering.streets.sky import sky_image
from offline.rendering.streets.traffic import Standing, draw_subject, draw_traffic

__all__ = ["sample_streets"]

LAMP_LIGHT = (17.0, 12.0, 6.8)
GARDENS = 24.0
LAMPS = 8  # lights of lamps further away are left out


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
        BadInput: no scene is wanted, a subject cannot be in a street, or the folder of models has
            none.
    """
    if count < 1:
        raise BadInput(f"{count} streets: at least 1 is wanted")
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
    subject = draw_subject(draw, generator, size, settings, models, camera)
    things = [subject, Standing("road", carriageway(draw, HALF, LANE, settings.length), 0, 0)]
    things.append(Standing("pavement", pavement(draw, HALF, PAVEMENT, settings.length), 0, 0))
    things.append(Standing("ground", ground(draw, HALF + PAVEMENT, GARDENS, settings.length), 0, 0))
    things += draw_traffic(draw, generator, settings, models, subject)
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
