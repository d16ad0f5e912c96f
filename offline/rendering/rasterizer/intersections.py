"""Borders where two faces pass through each other: no edge of the mesh lies there."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from offline.rendering.gathering import rows_of
from offline.rendering.rasterizer.antialias import Crossings, steepness

__all__ = ["plane_crossings"]

_DISTINCT = 1e-4  # relative change of depth a pixel, below which two planes count as one


def plane_crossings(
    planes: Float[Tensor, "covered 3"],
    rays: Float[Tensor, "covered 3"],
    table: Int64[Tensor, "batch height width"],
    visible: Int64[Tensor, "batch height width"],
    taken: Int64[Tensor, " crossing"],
    axis: int,
) -> Crossings:
    """Find where the planes of two neighbouring visible faces change places in depth.

    Args:
        planes: m of the face at each covered pixel; m · ray is its 1 / depth along that ray.
        rays: of each covered pixel, at depth 1.
        table: each pixel's row in `planes` and `rays`; -1 where nothing is covered.
        visible: as from `visible_faces`.
        taken: first pixels of the pairs whose border is known already.
        axis: 0 for pairs of left and right, 1 for upper and lower neighbours.
    """
    stride = 1 if axis == 0 else visible.shape[2]
    with torch.no_grad():
        first, second = _pairs(table, axis)
        open_pairs = (first >= 0) & (second >= 0)
        open_pairs &= torch.ne(*_pairs(visible, axis))
        sheet = torch.zeros(visible.numel(), dtype=torch.bool, device=visible.device)
        sheet[taken] = True
        number = torch.arange(visible.numel(), device=visible.device).view(visible.shape)
        number = _pairs(number, axis)[0][open_pairs]
        number = number[~sheet[number]]
        a, b = table.view(-1)[number], table.view(-1)[number + stride]
        normal = planes[a] - planes[b]
        ahead, behind = (normal * rays[a]).sum(1), (normal * rays[b]).sum(1)
        weight = steepness(normal[:, 1 - axis], normal[:, axis])
        depth = (planes[a] * rays[a]).sum(1)
        kept = (weight > 0) & (ahead > 0) & (behind < 0) & (ahead - behind > _DISTINCT * depth)
        a, b, number, weight = a[kept], b[kept], number[kept], weight[kept]
    normal = rows_of(a, planes) - rows_of(b, planes)
    ahead = (normal * rows_of(a, rays)).sum(1)
    behind = (normal * rows_of(b, rays)).sum(1)
    return Crossings(number, ahead / (ahead - behind), weight)


def _pairs(sheet: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    if axis == 0:
        return sheet[:, :, :-1], sheet[:, :, 1:]
    return sheet[:, :-1], sheet[:, 1:]
