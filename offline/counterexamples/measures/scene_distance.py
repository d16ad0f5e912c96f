"""How far an attack moved scenes, in the units of what it moved."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from guard.errors import BadInput
from offline.rendering.scene import Scene

__all__ = ["Distance", "scene_distances"]


class Distance(NamedTuple):
    """How far one scene parameter moved, scene by scene.

    In radians of `pose`, lengths of the world of `translation`, of the mesh of `vertices`.

    Attributes:
        most: l∞, the largest change of any of its numbers.
        length: l2, over all of its numbers.
    """

    most: Float[Tensor, " scene"]
    length: Float[Tensor, " scene"]


def scene_distances(before: Scene, after: Scene) -> dict[str, Distance]:
    """Return the distance in each scene parameter that any of the scenes moved in.

    Raises:
        BadInput: the scenes are not the same number.
    """
    if len(before) != len(after):
        raise BadInput(f"{len(before)} scenes before and {len(after)} after: as many are wanted")
    found = {}
    start = before.parameters()
    for name, value in after.parameters().items():
        moved = (value - start[name]).flatten(1)
        if bool(moved.any()):
            most, length = (
                torch.linalg.vector_norm(moved, ord=order, dim=1) for order in (torch.inf, 2)
            )
            found[name] = Distance(most, length)
    return found
