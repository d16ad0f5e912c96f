"""Analytic coverage at the borders between faces, which carries the gradient of shape.

After the antialias operation of Laine et al., "Modular Primitives for High-Performance
Differentiable Rendering" (2020): between two neighbouring pixel centres that show different faces
runs a border; where it crosses the line between them decides how much of one colour bleeds into
the other pixel. Three kinds of border are known here:

- silhouettes: the surface ends, or folds back, at an edge of the mesh;
- creases: the edge between the two faces that the two pixels show;
- intersections: two faces pass through each other, with no edge of the mesh between them.

A steep border is looked for between left and right neighbours, a flat one between upper and lower
ones, and around 45 degrees between both, with weights that sum to one: so each border counts once,
a straight one covers its exact area whatever its slope, and a round one has no seams.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import embedding

from offline.rendering.visibility import NEAR, cross, expand, strongest

__all__ = ["Crossings", "blend", "edge_crossings", "steepness"]

_BEHIND = 1e-4  # relative difference of 1 / depth below which two points are at the same depth
_THICKNESS = 0.03  # the same, for a neighbour that may be the surface an edge belongs to


class Crossings(NamedTuple):
    """Where borders cross the lines from pixel centres to the next one right of, or below, them."""

    pixel: Int64[Tensor, " crossing"]
    """Number of the first pixel in the flat batch of images."""
    along: Float[Tensor, " crossing"]
    """Place of the border in [0, 1] from the first centre to the second; has the gradient."""
    weight: Float[Tensor, " crossing"]
    """Share in [0, 1] of the border that this axis answers for; see `steepness`."""


def edge_crossings(
    screen: Float[Tensor, "batch vertex 3"],
    faces: Int64[Tensor, "batch face 3"],
    edges: Int64[Tensor, "batch edge 4"],
    visible: Int64[Tensor, "batch height width"],
    inverse: Float[Tensor, "batch height width"],
    axis: int,
) -> Crossings:
    """Find silhouettes and creases between pixels and their right (axis 0) or lower (1) neighbours.

    At most one for a pair of pixels. `screen` is as from `to_screen`, `visible` and `inverse` as
    from `visible_faces`.
    """
    with torch.no_grad():
        chosen = _find(screen, faces, edges, visible, inverse, axis)
    pixel, row, start, end, weight = chosen
    table = screen.reshape(-1, 3)
    along = cross(embedding(start, table), embedding(end, table), row.to(screen.dtype), axis)[0]
    step = pixel % visible.shape[2] if axis == 0 else pixel // visible.shape[2] % visible.shape[1]
    return Crossings(pixel, (along - step).clamp(0, 1), weight)


def steepness(
    along: Float[Tensor, " border"], across: Float[Tensor, " border"]
) -> Float[Tensor, " border"]:
    """Return the share in [0, 1] of a border that runs so far along, and across, an axis.

    1 from a slope of 2 across to 1 along, falling to 0 at 1 to 2; both axes together have 1.
    """
    along, across = along.abs(), across.abs()
    return (3 * across / (along + across) - 1).clamp(0, 1)


def blend(
    colours: Float[Tensor, "pixel 3"], borders: Sequence[tuple[Crossings, int]]
) -> Float[Tensor, "pixel 3"]:
    """Let colours bleed over the borders: by how far a border lies from the middle of its pair.

    With the crossings comes the stride from the number of a pixel to that of its neighbour. Where
    more than a whole pixel would bleed in, as at a dot, the shares are scaled down to one.
    """
    change = colours.new_zeros(len(colours), 4)
    for crossings, stride in borders:
        first, second = crossings.pixel, crossings.pixel + stride
        excess = (crossings.along - 0.5) * crossings.weight
        difference = embedding(first, colours) - embedding(second, colours)
        terms = torch.cat((excess[:, None] * difference, excess[:, None].abs()), dim=1)
        into_second = excess > 0
        # Each of the two steps adds to a pixel once, which fixes the order of the additions.
        for target, chosen in ((second, into_second), (first, ~into_second)):
            change = change.index_add(0, target[chosen], terms[chosen])
    return colours + change[:, :3] / change[:, 3:].clamp_min(1)


def _find(
    screen: Tensor, faces: Tensor, edges: Tensor, visible: Tensor, inverse: Tensor, axis: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return of each crossing: first pixel, row, numbers of the edge's vertices, its weight."""
    batch, height, width = visible.shape
    rows, columns = (height, width) if axis == 0 else (width, height)
    table = screen.reshape(-1, 3)
    ends, adjacent, scene, weight = _steep_edges(screen, edges, axis)
    a, b = table[ends[:, 0]], table[ends[:, 1]]
    first = a[:, 1 - axis].ceil().clamp(0, rows).long()
    last = b[:, 1 - axis].ceil().clamp(0, rows).long()
    owner, line = expand((last - first).clamp_min(0))
    line += first[owner]
    place, depth = cross(a[owner], b[owner], line.to(screen.dtype), axis)
    step = place.floor()
    inside = (step >= 0) & (step < columns - 1)
    owner, line, place, depth, step = (
        v[inside] for v in (owner, line, place, depth, step)
    )  # fmt: skip
    column = step.long()
    y, x = (line, column) if axis == 0 else (column, line)
    pixel = (scene[owner] * height + y) * width + x
    beyond = pixel + (1 if axis == 0 else width)
    shown, behind = visible.view(-1), inverse.view(-1)
    differ = shown[pixel] != shown[beyond]
    owner, line, place, depth, step, pixel, beyond = (
        v[differ] for v in (owner, line, place, depth, step, pixel, beyond)
    )  # fmt: skip

    side = _sides(table, faces, ends, adjacent, scene, axis)[owner]
    score = _score(
        place - step, depth, side, adjacent[owner],
        (shown[pixel], shown[beyond]), (behind[pixel], behind[beyond]),
    )  # fmt: skip
    borders = (score >= 0).nonzero()[:, 0]
    best = strongest(pixel[borders], score[borders], batch * height * width)
    best = borders[best[best >= 0]]
    owner = owner[best]
    return pixel[best], line[best], ends[owner, 0], ends[owner, 1], weight[owner]


def _steep_edges(screen: Tensor, edges: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the ends (upper first), both faces, scene and weight of edges that run across `axis`.

    At a border of the surface its one face stands for both.
    """
    batch, count = screen.shape[:2]
    scene = torch.arange(batch, device=edges.device)[:, None].expand(edges.shape[:2])
    real = edges[..., 0] >= 0
    edges, scene = edges[real], scene[real]
    ends = edges[:, :2] + scene[:, None] * count
    points = screen.reshape(-1, 3)[ends]
    before = ((points[..., 2] > 0) & (points[..., 2] < 1 / NEAR)).all(dim=1)
    run = points[:, 1] - points[:, 0]
    weight = steepness(run[:, axis], run[:, 1 - axis])
    kept = before & (weight > 0)
    ends, run, weight = ends[kept], run[kept], weight[kept]
    ends = torch.where(run[:, 1 - axis, None] < 0, ends.flip(1), ends)
    adjacent = edges[kept, 2:]
    return ends, torch.where(adjacent < 0, adjacent[:, :1], adjacent), scene[kept], weight


def _sides(
    table: Tensor, faces: Tensor, ends: Tensor, adjacent: Tensor, scene: Tensor, axis: int
) -> Tensor:
    """Return for each edge and adjacent face whether the face lies after the edge along `axis`."""
    batch, count = faces.shape[:2]
    corners = faces.reshape(-1, 3)[adjacent + scene[:, None] * count]
    first = scene * (len(table) // batch)
    third = table[corners.sum(dim=2) + 3 * first[:, None] - ends.sum(dim=1, keepdim=True)]
    a, b = table[ends].unbind(1)
    a, b = (end[:, None].expand_as(third) for end in (a, b))
    place, _ = cross(a, b, third[..., 1 - axis], axis)
    return third[..., axis] > place


def _score(
    along: Tensor,
    depth: Tensor,
    side: Tensor,
    touching: Tensor,
    shown: tuple[Tensor, Tensor],
    behind: tuple[Tensor, Tensor],
) -> Tensor:
    """Rank the crossings of one pair of pixels; below 0 it is no border that can be seen.

    A silhouette outranks a crease; of several silhouettes the outermost bounds what is visible.
    """
    after = side[:, 0]
    fold = side[:, 0] == side[:, 1]
    own, other = torch.where(after, shown[1], shown[0]), torch.where(after, behind[0], behind[1])
    near = torch.where(after, behind[1], behind[0])
    attached = (own[:, None] == touching).any(dim=1) | (near > depth * (1 - _THICKNESS))
    bounds = fold & attached & (other < depth * (1 - _BEHIND))
    outermost = torch.where(after, 1 - along, along)

    before_face = torch.where(after, touching[:, 1], touching[:, 0])
    after_face = torch.where(after, touching[:, 0], touching[:, 1])
    matches = (shown[0] == before_face).float() + (shown[1] == after_face).float()
    crease = torch.where(~fold & (matches > 0), matches / 4, -1)
    return torch.where(bounds, 1 + outermost, crease.to(along.dtype))
