"""Which face each pixel centre shows: a z-buffer filled by scan lines. Nothing here has a gradient.

Every face is cut into the rows of pixel centres that it crosses, every row into its pixels, so
that only pixels inside a face are ever touched. The crossing of an edge with a row is computed
from the edge alone, hence bit for bit alike in the two faces that share it: there are no cracks.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["NEAR", "cross", "expand", "strongest", "visible_faces"]

NEAR = 0.05  # depth below which a face is left out, in units of the object's radius
_FACES_AT_ONCE = 1 << 19  # bounds the memory of one pass to some hundred MB


@torch.no_grad()
def visible_faces(
    screen: Float[Tensor, "batch vertex 3"],
    faces: Int64[Tensor, "batch face 3"],
    height: int,
    width: int,
) -> tuple[Int64[Tensor, "batch height width"], Float[Tensor, "batch height width"]]:
    """Return the nearest face at each pixel centre (-1: none) and its 1 / depth (0: none).

    `screen` is as from `to_screen`, rows of -1 pad `faces`. Faces are seen from both sides. A face
    that reaches nearer than `NEAR` to the plane of the camera is left out.
    """
    at_once = max(1, _FACES_AT_ONCE // faces.shape[1])
    parts = [
        _fill(points, corners, height, width)
        for points, corners in zip(screen.split(at_once), faces.split(at_once), strict=True)
    ]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def cross(
    a: Float[Tensor, "*item 3"], b: Float[Tensor, "*item 3"], row: Float[Tensor, "*item"], axis: int
) -> tuple[Float[Tensor, "*item"], Float[Tensor, "*item"]]:
    """Return the place along `axis`, and 1 / depth, where the edge from a to b crosses a row.

    With `axis` 0 a row is one of pixels, with `axis` 1 it is a column.
    """
    part = (row - a[..., 1 - axis]) / (b[..., 1 - axis] - a[..., 1 - axis])
    place = a[..., axis] + part * (b[..., axis] - a[..., axis])
    return place, a[..., 2] + part * (b[..., 2] - a[..., 2])


def expand(
    counts: Int64[Tensor, " owner"],
) -> tuple[Int64[Tensor, " item"], Int64[Tensor, " item"]]:
    """Give owner i `counts[i]` items; return the owner of each and its number among its own."""
    owner = torch.repeat_interleave(counts)
    first = counts.cumsum(0) - counts
    return owner, torch.arange(len(owner), device=counts.device) - first[owner]


def strongest(
    slot: Int64[Tensor, " item"], score: Float[Tensor, " item"], slots: int
) -> Int64[Tensor, " {slots}"]:
    """Return the item of the highest score ≥ 0 in each slot; the first of equals; -1: none.

    The score's bits go above the item's number in one integer, so that one scatter finds the
    maximum and its place, in any order of execution alike.
    """
    number = torch.arange(len(slot), device=slot.device)
    key = (score.float().view(torch.int32).long() << 32) | (0x7FFFFFFF - number)
    best = torch.full((slots,), -1, dtype=torch.int64, device=slot.device)
    best.scatter_reduce_(0, slot, key, "amax")
    return torch.where(best < 0, -1, 0x7FFFFFFF - (best & 0x7FFFFFFF))


def _fill(screen: Tensor, faces: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    batch, face_count = faces.shape[:2]
    number, corners = _corners_by_row(screen, faces)
    low, middle, high = corners.unbind(1)
    top = low[:, 1].ceil().clamp(0, height).long()
    bottom = high[:, 1].ceil().clamp(0, height).long()
    kept = bottom > top
    number, top, bottom = number[kept], top[kept], bottom[kept]
    low, middle, high = low[kept], middle[kept], high[kept]

    owner, line = expand(bottom - top)
    line += top[owner]
    row = line.to(screen.dtype)
    low, middle, high = low[owner], middle[owner], high[owner]
    below = (row < middle[:, 1])[:, None]
    one = cross(low, high, row, 0)
    two = cross(torch.where(below, low, middle), torch.where(below, middle, high), row, 0)
    swap = (one[0] > two[0], one, two)
    left, right = (
        [torch.where(swap[0], b, a) for a, b in zip(one, two, strict=True)],
        [torch.where(swap[0], a, b) for a, b in zip(one, two, strict=True)],
    )

    start = left[0].ceil().clamp(0, width).long()
    span, step = expand(right[0].ceil().clamp(0, width).long() - start)
    x = start[span] + step
    slope = (right[1] - left[1]) / (right[0] - left[0])
    inverse = left[1][span] + (x - left[0][span]) * slope[span]
    owner = number[owner]
    pixel = ((owner // face_count * height + line) * width)[span] + x
    best = strongest(pixel, inverse.clamp_min(0), batch * height * width)
    found = best >= 0
    best = best.clamp_min(0)
    if len(span) == 0:
        empty = (batch, height, width)
        return best.new_full(empty, -1), screen.new_zeros(empty)
    face = torch.where(found, owner[span[best]] % face_count, -1)
    depth = torch.where(found, inverse[best], 0)
    return face.view(batch, height, width), depth.view(batch, height, width)


def _corners_by_row(screen: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers of the faces before the camera, and their corners from top to bottom."""
    batch, count = screen.shape[:2]
    first = torch.arange(batch, device=faces.device)[:, None, None] * count
    table = screen.reshape(-1, 3)
    before = (table[:, 2] > 0) & (table[:, 2] < 1 / NEAR)
    rows = (faces.clamp_min(0) + first).view(-1, 3)
    number = (before[rows].all(dim=1) & (faces[..., 0] >= 0).view(-1)).nonzero()[:, 0]
    corners = table[rows[number]]
    order = corners[:, :, 1].argsort(dim=1)
    return number, corners.gather(1, order[:, :, None].expand(-1, -1, 3))
