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

from offline.rendering.gathering import rows_of, sums_of
from offline.rendering.rasterizer.outlines import Outlines
from offline.rendering.rasterizer.visibility import cross, expand, winners

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
    outlines: Outlines,
    visible: Int64[Tensor, "batch height width"],
    inverse: Float[Tensor, "batch height width"],
    axis: int,
) -> Crossings:
    """Find silhouettes and creases between pixels and their right (axis 0) or lower (1) neighbours.

    At most one for a pair of pixels. `visible` and `inverse` are as from `visible_faces`.
    """
    with torch.no_grad():
        pixel, edge, weight = _find(outlines, visible, inverse, axis)
    x, y = pixel % visible.shape[2], pixel // visible.shape[2] % visible.shape[1]
    step, row = (v.to(inverse.dtype) for v in ((x, y) if axis == 0 else (y, x)))
    start, end = (rows_of(each, outlines.table) for each in outlines.ends[edge].unbind(1))
    along = cross(start, end, row, axis)[0]
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
    first = torch.cat([crossings.pixel for crossings, _ in borders])
    second = torch.cat([crossings.pixel + stride for crossings, stride in borders])
    excess = torch.cat([(each.along - 0.5) * each.weight for each, _ in borders])[:, None]
    target, source = torch.where(
        excess[:, 0] > 0, torch.stack((second, first)), torch.stack((first, second))
    )
    terms = excess.abs() * (rows_of(source, colours) - rows_of(target, colours))
    marks = torch.zeros(len(colours), dtype=torch.bool, device=target.device)
    marks[target] = True
    touched = marks.nonzero()[:, 0]
    slot = (marks.cumsum(0) - 1).index_select(0, target)
    change = sums_of(slot, torch.cat((terms, excess.abs()), dim=1), len(touched))
    return colours.index_add(0, touched, change[:, :3] / change[:, 3:].clamp_min(1))


def _find(
    outlines: Outlines, visible: Tensor, inverse: Tensor, axis: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return of each crossing: first pixel, number of the edge, its weight."""
    steep = _steep(outlines, visible.shape[1 + axis], axis)
    owner, line = expand(steep.rows)
    line += steep.first.index_select(0, owner)
    place, start, run, depth, change = steep.lines.index_select(0, owner.int()).unbind(1)
    part = line.to(start.dtype) - start
    place, depth = place + part * run, depth + part * change
    step = place.floor()
    along_line, stride = (visible.shape[2], 1) if axis == 0 else (1, visible.shape[2])
    column = step.clamp(0, visible.shape[2 - axis] - 1).long()
    scene = outlines.scene[steep.edge].index_select(0, owner)
    pixel = scene * visible[0].numel() + line * along_line + column * stride
    kept = _changes(visible, axis).index_select(0, pixel).logical_and_(step >= 0).nonzero()[:, 0]

    pixel, owner, along, depth = (
        v.index_select(0, kept) for v in (pixel, owner, place - step, depth)
    )
    shown, behind = (
        (v.view(-1).index_select(0, pixel), v.view(-1).index_select(0, pixel + stride))
        for v in (visible, inverse)
    )
    number = steep.edge.index_select(0, owner)
    after = steep.after.index_select(0, owner)
    touching = outlines.touching.index_select(0, number.int())
    score = _score(along, depth, after, touching, shown, behind)
    borders = (score >= 0).nonzero()[:, 0]
    pixel, owner, score = (v.index_select(0, borders) for v in (pixel, owner, score))
    best = winners(pixel, score, visible.numel())
    return pixel[best], steep.edge[owner[best]], steep.weight[owner[best]]


class _Steep(NamedTuple):
    """Edges that cross rows of pixels (with axis 1: columns) and run across the axis."""

    edge: Tensor
    weight: Tensor
    after: Tensor
    """Whether each of the faces lies after the edge along the axis."""
    first: Tensor
    """The first row that is crossed."""
    rows: Tensor
    lines: Tensor
    """A place along the axis, its row, change of place a row, 1 / depth there, its change a row."""


def _steep(outlines: Outlines, size: int, axis: int) -> _Steep:
    a, b = outlines.points[:, :3], outlines.points[:, 3:]
    first, last = (
        pick(a[:, 1 - axis], b[:, 1 - axis]).ceil_().clamp_(0, size).long()
        for pick in (torch.minimum, torch.maximum)
    )
    run = b - a
    weight = steepness(run[:, axis], run[:, 1 - axis])
    edge = ((last > first) & (weight > 0)).nonzero()[:, 0]
    a, run, first, last = a[edge], run[edge], first[edge], last[edge]
    slope = run[:, [axis, 2]] / run[:, 1 - axis, None]
    lines = torch.cat((a[:, [axis, 1 - axis]], slope[:, :1], a[:, 2:], slope[:, 1:]), dim=1)
    after = outlines.clockwise[edge] == ((run[:, 1 - axis, None] > 0) == (axis == 1))
    return _Steep(edge, weight[edge], after, first, last - first, lines)


def _changes(visible: Tensor, axis: int) -> Tensor:
    """Return for each pixel whether its right, or lower, neighbour shows another face."""
    changes = torch.zeros_like(visible, dtype=torch.bool)
    if axis == 0:
        torch.ne(visible[:, :, :-1], visible[:, :, 1:], out=changes[:, :, :-1])
    else:
        torch.ne(visible[:, :-1], visible[:, 1:], out=changes[:, :-1])
    return changes.view(-1)


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
