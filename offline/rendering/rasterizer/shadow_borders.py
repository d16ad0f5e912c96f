"""Where on the screen the borders of shadows run, which carries the gradient of their shape.

Where one of two neighbouring samples of the same surface is lit and the other is not, a border
runs between them: there the surface meets the plane through the light and an edge of the face that
blocks it. Which face and edge these are is found by asking for blocking faces ever nearer to the
border; the place where the planes meet then has the gradient, as in `intersections`.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from offline.rendering.gathering import rows_of
from offline.rendering.rasterizer.antialias import Crossings, steepness
from offline.rendering.rasterizer.fragments import Fragments
from offline.rendering.rasterizer.shadows import LIT, Shadows
from offline.rendering.scene import Scene

__all__ = ["shadow_crossings"]

_HALVINGS = 5  # a border is narrowed down to 1/32 of the way between two samples
_STRAY = 0.1  # an edge whose shadow is farther from there is none that bounds what is blocked


class _Pairs(NamedTuple):
    """Neighbouring samples between which a shadow begins or ends."""

    first: Tensor
    second: Tensor
    """Fragments."""
    light: Tensor
    """Number within the scene."""
    source: Tensor
    """Number of the light in the batch."""


def shadow_crossings(
    cast: Shadows,
    scene: Scene,
    seen: Fragments,
    table: Int64[Tensor, "batch height width"],
    edges: Crossings,
    axis: int,
) -> Crossings:
    """Add the borders of shadows between samples and their right (axis 0) or lower neighbours.

    Looked for within faces and across the edge of two that share a vertex; one for a pair of
    samples, of the first light that has any there. It replaces what `edges` knows of the same
    pair: there it is the shadow that makes most of the difference. `table` is as in
    `plane_crossings`.
    """
    planes, count = seen.planes, seen.positions.shape[1]
    lights, vertices = cast.lights.view(-1, 4), seen.positions.reshape(-1, 3)
    with torch.no_grad():
        pairs = _pairs(cast, scene, seen, table, axis)
        middle, plane, blocker = _narrowed(cast, seen, planes, pairs)
        within = seen.scene[pairs.first]
        corners = scene.faces[within, blocker] + within[:, None] * count
        ends = torch.stack((corners, corners.roll(1, 1)), dim=2)
        three = (v[:, None].expand(-1, 3) for v in (pairs.source, plane))
        slopes, normals = _slopes(vertices, lights, planes, ends, *three)
        # What was asked are places above the surface: their shadow ends a little farther on.
        lift = (normals * (cast.starts[plane] / -seen.places()[plane, 2:])[:, None]).sum(2)
        ahead = (slopes * seen.rays[pairs.first, None]).sum(2) + lift
        behind = (slopes * seen.rays[pairs.second, None]).sum(2) + lift
        stray = (ahead / (ahead - behind) - middle[:, None]).abs().nan_to_num(nan=torch.inf)
        stray, edge = stray.min(dim=1)
        kept = (stray < _STRAY).nonzero()[:, 0]
        edge, plane, source = edge[kept], plane[kept], pairs.source[kept]
        ends, lift, slope = ends[kept, edge], lift[kept, edge], slopes[kept, edge]
        first, second = pairs.first[kept], pairs.second[kept]
        weight = steepness(slope[:, 1 - axis], slope[:, axis])
    slope, _ = _slopes(vertices, lights, planes, ends, source, plane)
    ahead = (slope * rows_of(first, seen.rays)).sum(1) + lift
    behind = (slope * rows_of(second, seen.rays)).sum(1) + lift
    pixel, along = seen.number[first], (ahead / (ahead - behind)).clamp(0, 1)
    taken = torch.zeros(table.numel(), dtype=torch.bool, device=table.device)
    taken[pixel] = True
    rest = (~taken[edges.pixel]).nonzero()[:, 0]
    return Crossings(
        torch.cat((pixel, edges.pixel[rest])),
        torch.cat((along, edges.along[rest])),
        torch.cat((weight, edges.weight[rest])),
    )


def _pairs(cast: Shadows, scene: Scene, seen: Fragments, table: Tensor, axis: int) -> _Pairs:
    """Return the pairs on one surface of which the first is lit and the second is not, or so."""
    size = table.shape[2 - axis] - 1
    first, second = (table.narrow(2 - axis, start, size).reshape(-1) for start in (0, 1))
    both = (first >= 0) & (second >= 0)
    first, second = first[both], second[both]
    one, other = cast.blocker[first], cast.blocker[second]
    differ = ((one == LIT) & (other >= 0)) | ((one >= 0) & (other == LIT))
    found = differ.any(dim=1).nonzero()[:, 0]
    first, second, light = first[found], second[found], differ[found].int().argmax(dim=1)
    corners = [scene.faces[seen.scene[each], seen.face[each]] for each in (first, second)]
    joined = (corners[0][:, :, None] == corners[1][:, None]).any(dim=(1, 2))
    first, second, light = first[joined], second[joined], light[joined]
    return _Pairs(first, second, light, seen.scene[first] * cast.lights.shape[1] + light)


def _narrowed(
    cast: Shadows, seen: Fragments, planes: Tensor, pairs: _Pairs
) -> tuple[Tensor, Tensor, Tensor]:
    """Return how far along each pair the border is, the fragment whose plane it is on, and the
    face that blocks the light next to it.
    """
    before = cast.blocker[pairs.first, pairs.light]
    lit = (before >= 0).to(planes.dtype)
    dark = 1 - lit
    blocker = torch.where(before >= 0, before, cast.blocker[pairs.second, pairs.light])
    for _ in range(_HALVINGS):
        middle = (lit + dark) / 2
        place, plane = _surface(seen, planes, pairs, middle)
        found = cast.occluders.blocking(pairs.source, place + cast.starts[plane])
        blocker = torch.where(found >= 0, found, blocker)
        dark = torch.where(found >= 0, middle, dark)
        lit = torch.where(found >= 0, lit, middle)
    middle = (lit + dark) / 2
    return middle, _surface(seen, planes, pairs, middle)[1], blocker


def _surface(
    seen: Fragments, planes: Tensor, pairs: _Pairs, along: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the places so far along the pairs, and the fragments whose planes they are on.

    Of two faces that meet in an edge, the farther is seen where they form a ridge, the nearer
    where they form a furrow.
    """
    start, end = seen.rays[pairs.first], seen.rays[pairs.second]
    ray = start + along[:, None] * (end - start)
    one, other = ((planes[each] * ray).sum(1) for each in (pairs.first, pairs.second))
    ridge = ((planes[pairs.second] - planes[pairs.first]) * start).sum(1) >= 0
    on_first = (one <= other) == ridge
    inverse = torch.where(on_first, one, other).clamp_min(torch.finfo(one.dtype).eps)
    return ray / inverse[:, None], torch.where(on_first, pairs.first, pairs.second)


def _slopes(
    vertices: Tensor, lights: Tensor, planes: Tensor, ends: Tensor, source: Tensor, plane: Tensor
) -> tuple[Tensor, Tensor]:
    """Return s such that s · ray changes its sign where an edge's shadow on a plane is seen.

    And the normal of the plane through the edge and the light.
    """
    a, b = rows_of(ends, vertices).unbind(-2)
    light = rows_of(source, lights)
    normal = torch.linalg.cross(b - a, light[..., :3] - light[..., 3:] * a)
    return normal - (normal * a).sum(-1, keepdim=True) * rows_of(plane, planes), normal
