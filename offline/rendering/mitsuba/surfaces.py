"""One scene as arrays that Mitsuba takes: everything that torch can work out beforehand."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import normalize

from offline.rendering.camera import to_camera, to_world, view_rotation
from offline.rendering.gathering import rows_of, sums_of
from offline.rendering.rasterizer.lighting import REFLECTED
from offline.rendering.rasterizer.normals import CANCELLED
from offline.rendering.scene import Scene

__all__ = ["Inputs", "Topology", "inputs", "topology"]


class Topology(NamedTuple):
    """What of one scene has no gradient."""

    faces: Int64[Tensor, "face 3"]
    owners: Int64[Tensor, " face"]
    """The object of each face."""
    edges: Int64[Tensor, " edge"]
    """3 · face + corner, at which the edge begins; each edge once."""
    opposite: Int64[Tensor, " corner"]
    """Of each 3 · face + corner: that of the one other face at its edge, or itself."""
    uv: Float[Tensor, "painted 3 2"]
    tile: Int64[Tensor, " painted"]
    tiles: Int64[Tensor, "tile 4"]
    field_of_view: float


class Inputs(NamedTuple):
    """What of one scene has gradients, in world axes but for `screen`."""

    screen: Float[Tensor, "vertex 3"]
    """Vertices in camera axes, squeezed across the view, so that a change of the field of view is a
    change of theirs; where Mitsuba traces its rays."""
    places: Float[Tensor, "vertex 3"]
    normals: Float[Tensor, "face 3 3"]
    """Of the corners, of unit length."""
    base: Float[Tensor, "face 3"]
    gloss: Float[Tensor, " face"]
    texture: Float[Tensor, "3 row column"]
    light: Float[Tensor, " 6"]
    """With a direction of unit length."""
    lamps: Float[Tensor, "lamp 6"]
    environment: Float[Tensor, "9 3"]
    """Coefficients of what a white Lambertian surface reflects, by its normal."""
    eye: Float[Tensor, " 3"]
    background: Float[Tensor, "3 rows columns"]
    fog: Float[Tensor, " 4"]


def topology(scene: Scene) -> Topology:
    """Return the constant part of a batch of one scene."""
    faces = scene.faces[0]
    faces = faces[faces[:, 0] >= 0]
    halves = torch.stack((faces, faces.roll(-1, 1)), dim=2).view(-1, 2).sort(dim=1).values
    code = halves[:, 0] * scene.points.shape[1] + halves[:, 1]
    order = code.argsort(stable=True)
    first = torch.diff(code[order], prepend=code.new_tensor([-1])) > 0
    start = first.nonzero()[:, 0]
    uses = torch.diff(start, append=start.new_tensor([len(code)]))
    start = start[uses == 2]
    opposite = torch.arange(len(code), device=code.device)
    opposite[order[start]], opposite[order[start + 1]] = order[start + 1], order[start]
    return Topology(
        faces=faces,
        owners=scene.owners[0][faces[:, 0]],
        edges=order[first],
        opposite=opposite,
        uv=scene.uv[0],
        tile=scene.tile[0],
        tiles=scene.tiles[0],
        field_of_view=float(scene.camera[0, 3].detach()),
    )


def inputs(scene: Scene, part: Topology) -> Inputs:
    """Return the differentiable part of a batch of one scene."""
    places = to_world(scene)
    half = (scene.camera[0, 3] / 2).tan()
    squeeze = half.detach() / half
    turn, target = view_rotation(scene.camera)[0], scene.camera[0, 5:]
    eye = target + scene.camera[0, 0] * turn[2]
    light = scene.light[0]
    return Inputs(
        screen=to_camera(places, scene.camera)[0]
        * torch.stack((squeeze, squeeze, torch.ones_like(squeeze))),
        places=places[0],
        normals=_normals(rows_of(part.faces, places[0]), scene.smoothing[0], eye),
        base=scene.face_colours[0, : len(part.faces)] * rows_of(part.owners, scene.colour[0]),
        gloss=scene.gloss[0][part.owners],
        texture=scene.texture[0],
        light=torch.cat((normalize(light[:3], dim=0), light[3:])),
        lamps=scene.lamps[0],
        environment=scene.environment[0] * light.new_tensor(REFLECTED)[:, None],
        eye=eye,
        background=scene.background[0].clamp(0, 1),
        fog=scene.fog[0],
    )


def _normals(corners: Tensor, smoothing: Tensor, eye: Tensor) -> Tensor:
    """Return the unit normals of corners on the side of the eye, by the side of their face.

    It is the face's own, or the sum over the corner's group, in which faces count by their area;
    where that cancels, the face's own again, as in the rasterizer.
    """
    sides = corners[:, 1:] - corners[:, :1]
    flat = torch.cross(sides[:, 0], sides[:, 1], dim=1)
    behind = (flat * (corners[:, 0] - eye)).sum(1) > 0
    normals = flat[:, None].expand(-1, 3, -1)
    groups = smoothing.new_full((len(flat), 3), -1)
    groups[: len(smoothing)] = smoothing[: len(flat)]
    grouped = groups >= 0
    if grouped.any():
        sums = sums_of(groups[grouped], normals[grouped], int(groups.max()) + 1)
        sums = rows_of(groups.clamp_min(0), sums)
        lengths, own = (each.norm(dim=2, keepdim=True) for each in (sums, normals))
        used = grouped[..., None] & (lengths > CANCELLED * own)
        normals = torch.where(used, sums, normals)
    normals = torch.where(behind[:, None, None], -normals, normals)
    return normalize(normals, dim=2, eps=1e-30)
