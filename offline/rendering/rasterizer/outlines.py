"""The edges of meshes that can be borders in an image, made ready for both axes of the image."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int32, Int64
from torch import Tensor

from offline.rendering.rasterizer.clipping import clipped_ends, in_front

__all__ = ["Outlines", "outlines"]


class Outlines(NamedTuple):
    """Edges before the camera: folds and borders of the surface, and edges of faces in view."""

    table: Float[Tensor, "point 3"]
    """Points on the screen, of all scenes; has the gradient."""
    ends: Int32[Tensor, "edge 2"]
    """Numbers of points."""
    points: Float[Tensor, "edge 6"]
    """x, y and 1 / depth of both ends, without a gradient."""
    touching: Int64[Tensor, "edge 2"]
    """The faces that meet there; at a border of the surface its one face stands for both."""
    clockwise: Bool[Tensor, "edge 2"]
    """Whether each face lies clockwise of the way from the first end to the second."""
    scene: Int64[Tensor, " edge"]


def outlines(
    screen: Float[Tensor, "batch vertex 3"],
    faces: Int64[Tensor, "batch face 3"],
    edges: Int64[Tensor, "batch edge 4"],
    visible: Int64[Tensor, "batch height width"],
) -> Outlines:
    """Choose the edges that can be seen as borders; `visible` is as from `visible_faces`."""
    table = screen.reshape(-1, 3)
    with torch.no_grad():
        ends, third, touching, scene = _numbers(faces, edges, screen.shape[1])
        front = in_front(table)
        behind = None
        if not front.all():
            sides = front[ends]
            kept = sides.any(dim=1).nonzero()[:, 0]
            ends, third, touching, scene = (v[kept] for v in (ends, third, touching, scene))
            behind = (~front[ends]).nonzero()
    if behind is not None and len(behind):
        edge, end = behind.unbind(1)
        points = clipped_ends(table, ends[edge])
        number = torch.arange(len(edge), dtype=ends.dtype, device=ends.device)
        ends = ends.index_put((edge, end), len(table) + number)
        table = torch.cat((table, points))
    with torch.no_grad():
        points = table.index_select(0, ends.view(-1)).view(-1, 6)
        size = points.new_tensor((visible.shape[2], visible.shape[1]))
        low, high = (
            pick(points[:, 0:2], points[:, 3:5]).ceil_().clamp_min_(0).minimum(size)
            for pick in (torch.minimum, torch.maximum)
        )
        chosen = (low < high).any(dim=1).nonzero()[:, 0]
        points, third = (v.index_select(0, chosen.int()) for v in (points, third))
        touching, scene = touching.index_select(0, chosen.int()), scene[chosen]
        clockwise = _clockwise(table, points, third)
        lit = _in_view(visible, faces.shape[1], scene[:, None], touching)
        seen = ((clockwise[:, 0] == clockwise[:, 1]) | lit.any(dim=1)).nonzero()[:, 0]
        ends = ends.index_select(0, chosen[seen].int())
    return Outlines(table, ends, points[seen], touching[seen], clockwise[seen], scene[seen])


def _numbers(faces: Tensor, edges: Tensor, vertices: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return of each edge: both ends, the other corner of each face, the faces, the scene."""
    batch = torch.arange(len(edges), device=edges.device)
    scene = batch.repeat_interleave(edges.shape[1])
    flat = edges.view(-1, 4)
    real = flat[:, 0] >= 0
    if not real.all():
        flat, scene = flat[real], scene[real]
    ends, touching = flat[:, :2], flat[:, 2:]
    touching = torch.where(touching < 0, touching[:, :1], touching)
    corners = faces.sum(dim=2).view(-1)[touching + (scene * faces.shape[1])[:, None]]
    first = (scene * vertices)[:, None]
    third = corners - ends.sum(dim=1, keepdim=True) + first
    return (ends + first).int(), third.int(), touching, scene


def _clockwise(table: Tensor, points: Tensor, third: Tensor) -> Tensor:
    """Tell the side of each third corner; one behind the camera appears on the opposite side."""
    ax, ay, _, bx, by, _ = (v[:, None] for v in points.unbind(1))
    x, y, inverse = table.index_select(0, third.view(-1)).view(-1, 2, 3).unbind(2)
    turn = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
    return (turn > 0) ^ (inverse < 0)


def _in_view(visible: Tensor, faces: int, scene: Tensor, touching: Tensor) -> Tensor:
    marks = torch.zeros(len(visible), faces + 1, dtype=torch.bool, device=visible.device)
    marks.scatter_(1, (visible + 1).view(len(visible), -1), True)
    return marks.view(-1)[touching + (scene * (faces + 1) + 1)]
