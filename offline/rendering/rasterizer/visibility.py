"""Which face each pixel centre shows: a z-buffer filled by scan lines. Nothing here has a gradient.

Every face is cut into the rows of pixel centres that it crosses, every row into its pixels, so
that only pixels inside a face are ever touched. The crossing of an edge with a row is computed
from the edge alone, hence bit for bit alike in the two faces that share it: there are no cracks.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from offline.rendering.rasterizer.clipping import NEAR, clipped_faces, in_front

__all__ = ["NEAR", "cross", "expand", "strongest", "visible_faces", "winners"]

_FACES_AT_ONCE = 1 << 19  # bounds the memory of one pass to some hundred MB
_PIXELS_AT_ONCE = 1 << 23  # the same, where many large faces lie behind one another
_LAST = 0x7FFFFFFF


@torch.no_grad()
def visible_faces(
    screen: Float[Tensor, "batch vertex 3"],
    faces: Int64[Tensor, "batch face 3"],
    height: int,
    width: int,
) -> tuple[Int64[Tensor, "batch height width"], Float[Tensor, "batch height width"]]:
    """Return the nearest face at each pixel centre (-1: none) and its 1 / depth (0: none).

    `screen` is as from `to_screen`, rows of -1 pad `faces`. Faces are seen from both sides; what
    of a face is nearer than `NEAR` to the plane of the camera is not seen. 1 / depth is rounded to
    float32. Of faces at the same depth the first is seen.
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
    number = torch.arange(len(owner), device=counts.device)
    return owner, number.sub_(first.index_select(0, owner))


def strongest(
    slot: Int64[Tensor, " item"], score: Float[Tensor, " item"], slots: int
) -> Int64[Tensor, " {slots}"]:
    """Return the item of the highest score ≥ 0 in each slot; the first of equals; -1: none."""
    number = torch.arange(len(slot), device=slot.device)
    best = _fullest(slot, _key(score, _LAST - number), slots)
    return torch.where(best < 0, -1, _LAST - (best & _LAST))


def winners(
    slot: Int64[Tensor, " item"], score: Float[Tensor, " item"], slots: int
) -> Int64[Tensor, " winner"]:
    """Return what `strongest` finds, in rising order and without the empty slots."""
    number = torch.arange(len(slot), device=slot.device)
    key = _key(score, _LAST - number)
    best = _fullest(slot, key, slots)
    return (best.index_select(0, slot) == key).nonzero()[:, 0]


def _key(score: Tensor, label: Tensor) -> Tensor:
    """Put the score's bits above a label of 31 bits, so that one maximum finds both.

    The maximum of integers is the same in any order of execution. Below a score of 0 it is < 0.
    """
    return (score.float().view(torch.int32).long() << 32).bitwise_or_(label)


def _fullest(slot: Tensor, key: Tensor, slots: int) -> Tensor:
    best = torch.full((slots,), -1, dtype=torch.int64, device=slot.device)
    return best.scatter_reduce_(0, slot, key, "amax")


def _fill(screen: Tensor, faces: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    batch, count = faces.shape[:2]
    # Key of no face at 1 / depth 0: labels of faces are lower, by one and their number.
    best = torch.full((batch * height * width,), _LAST, dtype=torch.int64, device=screen.device)
    number, corners = _faces_in_view(screen, faces)
    top, bottom = _range(corners[:, 1::3], height)
    left, right = _range(corners[:, 0::3], width)
    kept = ((bottom > top) & (right > left)).nonzero()[:, 0]
    number, top, bottom = number[kept], top[kept], bottom[kept]
    work = ((bottom - top) * (right - left)[kept]).cumsum(0) // _PIXELS_AT_ONCE
    sizes = work.unique_consecutive(return_counts=True)[1].tolist()
    whole = torch.stack((number // count * height + top, _LAST - 1 - number % count), dim=1)
    parts = zip(
        *(each.split(sizes) for each in (corners[kept], top, bottom - top, whole)), strict=True
    )
    for points, first, rows, labels in parts:
        _scan(points, first, rows, labels, width, best)
    shape = (batch, height, width)
    face = (_LAST - 1) - (best & _LAST)
    inverse = (best >> 32).int().view(torch.float32).to(screen.dtype)
    return face.view(shape), inverse.view(shape)


def _faces_in_view(screen: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers of faces before the camera, and their corners: x, y, 1 / depth of each.

    Corners are in the order of their vertices: so an edge has the same first end in all its faces.
    """
    batch, count = screen.shape[:2]
    first = torch.arange(0, batch * count, count, dtype=torch.int32, device=faces.device)
    rows = (faces.int() + first[:, None, None]).view(-1, 3)
    table = screen.reshape(-1, 3)
    front = in_front(table)
    real = (faces[..., 0] >= 0).view(-1)
    if bool(real.all()) and bool(front.all()):
        return torch.arange(len(rows), device=faces.device), _sorted_corners(table, rows)
    seen = front[rows.clamp_min(0)]
    number = (seen.all(dim=1) & real).nonzero()[:, 0]
    mixed = (seen.any(dim=1) & ~seen.all(dim=1) & real).nonzero()[:, 0]
    part, cut, table = clipped_faces(table, rows[mixed])
    rows = torch.cat((rows[number], cut))
    return torch.cat((number, mixed[part])), _sorted_corners(table, rows)


def _sorted_corners(table: Tensor, rows: Tensor) -> Tensor:
    a, b, c = rows.unbind(1)
    low, high = torch.minimum(torch.minimum(a, b), c), torch.maximum(torch.maximum(a, b), c)
    rows = torch.stack((low, a + b + c - low - high, high), dim=1)
    return table.index_select(0, rows.view(-1)).view(-1, 9)


def _range(corners: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the first pixel in the bounds of each face along an axis, and one past the last."""
    a, b, c = corners.unbind(1)
    low, high = torch.minimum(torch.minimum(a, b), c), torch.maximum(torch.maximum(a, b), c)
    return low.ceil_().clamp_(0, size).long(), high.ceil_().clamp_(0, size).long()


def _scan(
    corners: Tensor, top: Tensor, rows: Tensor, labels: Tensor, width: int, best: Tensor
) -> None:
    """Put the key of each pixel of the faces into `best` where it is the greatest so far.

    `labels` are the number of a face's first row among all images, and the lower bits of its keys.
    """
    owner, line = expand(rows)
    narrow = owner.int()  # gathers of whole rows by 32 bits are several times as fast
    row = (line + top.index_select(0, owner)).to(corners.dtype)
    ax, ay, az, bx, by, bz, cx, cy, cz = corners.index_select(0, narrow).unbind(1)
    # Of the edges ab, ac and bc two cross the row: one of the first two, and one of the last two.
    above = by <= row
    first, last = (ay <= row) != above, above != (cy <= row)
    x, inverse = _cross((ax, ay, az), _where(first, (bx, by, bz), (cx, cy, cz)), row)
    other, beyond = _cross(_where(last, (bx, by, bz), (ax, ay, az)), (cx, cy, cz), row)
    slope = (beyond - inverse) / (other - x)
    start = torch.minimum(x, other).ceil_().clamp_(0, width)
    counts = torch.maximum(x, other).ceil_().clamp_(0, width).sub_(start).long()
    inverse.add_((start - x).mul_(slope))
    place, label = labels.index_select(0, narrow).unbind(1)
    place = (place + line).mul_(width).add_(start.long())

    span, step = expand(counts)
    narrow = span.int()
    inverse, slope = torch.stack((inverse, slope), dim=1).index_select(0, narrow).unbind(1)
    place, label = torch.stack((place, label), dim=1).index_select(0, narrow).unbind(1)
    depth = inverse.addcmul(slope, step.to(slope.dtype)).clamp_min_(0)
    best.scatter_reduce_(0, place + step, _key(depth, label), "amax")


def _where(chosen: Tensor, a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.where(chosen, one, other) for one, other in zip(a, b, strict=True))


def _cross(a: tuple[Tensor, ...], b: tuple[Tensor, ...], row: Tensor) -> tuple[Tensor, Tensor]:
    part = (row - a[1]).div_(b[1] - a[1])
    return (b[0] - a[0]).mul_(part).add_(a[0]), (b[2] - a[2]).mul_(part).add_(a[2])
