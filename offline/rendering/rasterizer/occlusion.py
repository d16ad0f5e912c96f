"""What lies between a surface and a light: rays of embree on the CPU, a grid on other devices.

Nothing here has a gradient. A light is a point in homogeneous coordinates (x, y, z, w): with w = 1
a place, with w = 0 the direction towards a light at infinity. From a place p the light is reached
along (x, y, z) - w · p, so that one rule serves both.
"""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh
from jaxtyping import Float, Int64
from torch import Tensor

from offline.rendering.rasterizer.light_grid import GridOccluders

__all__ = ["EmbreeOccluders", "Occluders", "occluders"]

_ENDLESS = 1e37  # how far embree follows a ray to infinity


@runtime_checkable
class Occluders(Protocol):
    """The faces of a batch of scenes, ready to be asked which of them block light."""

    def blocking(
        self, source: Int64[Tensor, " place"], places: Float[Tensor, "place 3"]
    ) -> Int64[Tensor, " place"]:
        """Return the first face from each place to its light, numbered within its scene; -1: none.

        `source` is scene · lights + light, and ascends by scene. Faces block from both sides.
        """
        ...


def occluders(
    positions: Float[Tensor, "batch vertex 3"],
    faces: Int64[Tensor, "batch face 3"],
    lights: Float[Tensor, "batch light 4"],
) -> Occluders:
    """Prepare the faces of a batch of scenes (rows of -1 pad) for the device that they are on.

    Positions, lights and the places asked for are all in the same axes. The first light of every
    scene is at infinity (w = 0), the others have places (w = 1).
    """
    way = EmbreeOccluders if positions.device.type == "cpu" else GridOccluders
    return way(positions, faces, lights)


class EmbreeOccluders:
    """Asks embree, in float32, one scene after another."""

    def __init__(
        self,
        positions: Float[Tensor, "batch vertex 3"],
        faces: Int64[Tensor, "batch face 3"],
        lights: Float[Tensor, "batch light 4"],
    ) -> None:
        self._lights = lights.detach()
        self._scenes = [
            _built(points, corners)
            for points, corners in zip(positions.detach().float().cpu(), faces.cpu(), strict=True)
        ]

    def blocking(
        self, source: Int64[Tensor, " place"], places: Float[Tensor, "place 3"]
    ) -> Int64[Tensor, " place"]:
        """As `Occluders.blocking`."""
        light = self._lights.view(-1, 4)[source]
        ways = (light[:, :3] - light[:, 3:] * places).float().cpu().numpy()
        reach = torch.where(light[:, 3] == 0, _ENDLESS, 1).float().cpu().numpy()
        starts = places.detach().float().cpu().numpy()
        scene = source // self._lights.shape[1]
        counts = torch.bincount(scene, minlength=len(self._scenes)).tolist()
        found, first = np.empty(len(starts), np.int64), 0
        for embree, count in zip(self._scenes, counts, strict=True):
            own = slice(first, first + count)
            if count:
                found[own] = embree.run(starts[own], ways[own], dists=reach[own])
            first += count
        return torch.from_numpy(found).to(places.device)


def _built(points: Tensor, faces: Tensor) -> rtcore_scene.EmbreeScene:
    scene = rtcore_scene.EmbreeScene()
    real = faces[faces[:, 0] >= 0]  # padding comes last, so that faces keep their numbers
    TriangleMesh(scene, points.contiguous().numpy(), real.int().contiguous().numpy())
    return scene
