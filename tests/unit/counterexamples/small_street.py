"""A car, a bus, a tree and a wall under a sky: few faces, and all that a street's features move."""

import dataclasses
import math

import torch

from offline.rendering.composing import compose
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.procedural import procedural_mesh
from offline.rendering.procedural.parts import Draw, assemble, box
from offline.rendering.scene import Scene
from offline.rendering.streets.daylight import WEATHERS, daylight
from offline.rendering.streets.models import StreetModels
from offline.rendering.streets.parts import tree
from offline.rendering.streets.sky import sky_image

__all__ = ["CAMERA", "brick", "small_street", "standing_at"]

CAMERA = (10.0, 0.0, 0.12, math.radians(40), 0.0, 0.0, 0.5, -9.0)
NAMES = StreetModels().classes


def brick(length: float, height: float, width: float) -> Mesh:
    """A box on its foot, its length along x; scaled by its sides alone."""
    made = assemble("brick", [box((length, height, width), (0, 0, 0), (0.4, 0.3, 0.2))])
    low, high = made.vertices.amin(0), made.vertices.amax(0)
    sides = torch.tensor((length, height, width)) / (high - low)
    return dataclasses.replace(made, vertices=(made.vertices - (low + high) / 2) * sides)


def standing_at(things: list[tuple[str, Mesh, float, float, float]]) -> Scene:
    """Stand (class, mesh, x, z, degrees) on the ground of one scene, as they are."""
    scene = compose([[thing[1] for thing in things]], [[NAMES.index(thing[0]) for thing in things]])
    lows = [float(thing[1].vertices[:, 1].min()) for thing in things]
    places = [(x, -low, z) for (_, _, x, z, _), low in zip(things, lows, strict=True)]
    pose = torch.zeros_like(scene.pose)
    pose[0, :, 1] = torch.deg2rad(torch.tensor([float(thing[4]) for thing in things]))
    return scene.replace(
        pose=pose, translation=torch.tensor([places]).float(), camera=torch.tensor([CAMERA])
    )


def small_street(size: tuple[int, int], *, plain: bool = False) -> Scene:
    """One scene with its sky, in hazy air, for images of `size`.

    Where it is plain, all is made of bricks: at this size details are finer than a pixel, and there
    finite differences of an image say little.
    """
    generator = torch.Generator().manual_seed(4)

    def made(name: str) -> Mesh:
        if plain:
            return brick(*{"car": (3.6, 1.5, 1.7), "tree": (1.2, 3, 1.2), "bus": (4, 2, 1.8)}[name])
        if name == "tree":
            return tree(Draw(generator))
        mesh = procedural_mesh(name, generator)
        return dataclasses.replace(mesh, vertices=2.2 * mesh.vertices)

    scene = standing_at([
        ("car", made("car"), -1.6, -9.0, 70.0),
        ("tree", made("tree"), 3.5, -14.0, 20.0),
        ("building", brick(5.0, 4.0, 2.0), 0.0, -19.0, 10.0),
        ("bus", made("bus"), 1.7, -12.0, 120.0),
    ])  # fmt: skip
    day = daylight(torch.tensor([11.0]), [WEATHERS["hazy"]])
    return scene.replace(
        light=day.light,
        environment=day.environment,
        fog=day.fog,
        background=sky_image(day.sky, scene.camera, *size),
    )
