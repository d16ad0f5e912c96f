"""What is nearer than the near plane is cut off, where the projection of faces would fold over.

Screen coordinates determine a point even behind the camera, where 1 / depth is negative: (x, y, 1)
times depth is linear in space. So a cut needs nothing but them.
"""

import torch
from jaxtyping import Bool, Float, Int32, Int64
from torch import Tensor

from offline.rendering.gathering import rows_of

__all__ = ["NEAR", "clipped_ends", "clipped_faces", "in_front"]

NEAR = 0.05  # depth of the near plane, in units of the object's radius


def in_front(screen: Float[Tensor, "*point 3"]) -> Bool[Tensor, "*point"]:
    """Return whether points on the screen, as from `to_screen`, lie beyond the near plane."""
    return (screen[..., 2] > 0) & (screen[..., 2] < 1 / NEAR)


def clipped_faces(
    table: Float[Tensor, "point 3"], rows: Int32[Tensor, "face 3"]
) -> tuple[Int64[Tensor, " part"], Int32[Tensor, "part 3"], Float[Tensor, "more 3"]]:
    """Cut faces at the near plane, which each of them crosses; `rows` are its corners in `table`.

    Returns:
        The number of the face that each part comes from, one or two of a face; its corners; and
        the table with the new points at its end.
    """
    front = in_front(table)[rows]
    pair = front.sum(dim=1) == 2
    # The corner that is alone on its side comes first, the others keep their turn.
    alone = torch.where(pair[:, None], ~front, front).int().argmax(dim=1)
    turn = (alone[:, None] + torch.arange(3, device=rows.device)) % 3
    first, second, third = rows.gather(1, turn).unbind(1)
    cuts = torch.cat((torch.stack((first, second), 1), torch.stack((first, third), 1)))
    points = clipped_ends(table, cuts)
    a, b = (torch.arange(len(cuts), device=rows.device) + len(table)).int().chunk(2)
    number = torch.arange(len(rows), device=rows.device)
    tip = torch.stack((first, a, b), dim=1)
    side = torch.cat((torch.stack((b, second, third), 1), torch.stack((b, a, second), 1)))
    parts = torch.cat((tip[~pair], side[pair.repeat(2)]))
    owner = torch.cat((number[~pair], number[pair], number[pair]))
    return owner, parts, torch.cat((table, points))


def clipped_ends(
    table: Float[Tensor, "point 3"], ends: Int32[Tensor, "edge 2"] | Int64[Tensor, "edge 2"]
) -> Float[Tensor, "edge 3"]:
    """Return where edges cross the near plane, each from one end beyond it to one that is not.

    The points move with both ends; where along the edge they lie is taken as fixed, which changes
    no border: it runs along the line through both.
    """
    first, second = (rows_of(end, table) for end in ends.unbind(1))
    return _cut(first, second)


def _cut(a: Tensor, b: Tensor) -> Tensor:
    """The same bits whichever of the ends is named first, or faces would part at their edge."""
    nearer = in_front(b)[:, None]
    a, b = torch.where(nearer, b, a), torch.where(nearer, a, b)
    a, b = (torch.cat((end[:, :2], torch.ones_like(end[:, :1])), 1) / end[:, 2:] for end in (a, b))
    part = ((a[:, 2:] - NEAR) / (a[:, 2:] - b[:, 2:])).detach()
    cut = a + part * (b - a)
    return torch.cat((cut[:, :2] / cut[:, 2:], 1 / cut[:, 2:]), dim=1)
