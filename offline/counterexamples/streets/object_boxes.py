"""Where the objects of a scene are: their boxes along their own axes, and which are vehicles."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from offline.rendering.scene import Scene
from offline.rendering.streets.models import VEHICLES, StreetModels

__all__ = ["local_boxes", "numbers_of", "of_classes", "vehicles"]

_NAMES = StreetModels().classes


def numbers_of(names: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers in `Scene.classes` of names, as streets of procedural meshes have them.

    Names that there are no procedural meshes of have none.
    """
    return tuple(_NAMES.index(name) for name in names if name in _NAMES)


def of_classes(scenes: Scene, numbers: tuple[int, ...]) -> Bool[Tensor, "batch object"]:
    """Say which objects are of one of some classes."""
    return torch.isin(scenes.classes, scenes.classes.new_tensor(numbers))


def vehicles(scenes: Scene) -> Bool[Tensor, "batch object"]:
    """Say which objects are vehicles: cars, buses and motorcycles."""
    return of_classes(scenes, numbers_of(VEHICLES))


def local_boxes(
    scenes: Scene, *, deformed: bool = True
) -> tuple[Float[Tensor, "batch object 3"], Float[Tensor, "batch object 3"]]:
    """Return the least and greatest coordinates of each object's vertices, along its own axes.

    They are those of `points + vertices` (of `points` where not `deformed`), before scale, pose and
    translation. Vertices without a face do not count; an object without any has the box (0, 0).
    """
    local = scenes.points + scenes.vertices if deformed else scenes.points
    count, objects = len(scenes), scenes.pose.shape[1]
    corners = scenes.faces.clamp_min(0).flatten(1)
    # Faces of padding are put upon an object that is not there.
    owner = scenes.owners.gather(1, corners)
    owner = torch.where(scenes.faces.flatten(1) < 0, objects, owner)[..., None].expand(-1, -1, 3)
    places = local.gather(1, corners[..., None].expand(-1, -1, 3))
    low = places.new_full((count, objects + 1, 3), torch.inf)
    low = low.scatter_reduce(1, owner, places, "amin")[:, :objects]
    high = places.new_full((count, objects + 1, 3), -torch.inf)
    high = high.scatter_reduce(1, owner, places, "amax")[:, :objects]
    there = low <= high
    return low.where(there, 0), high.where(there, 0)
