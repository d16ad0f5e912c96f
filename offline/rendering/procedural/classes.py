"""The twelve classes of the semantic seeds (Table 13 of the ShapeNet appendix) by name."""

from collections.abc import Callable, Sequence

import torch

from guard.errors import BadInput, nearest
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.procedural.craft import airplane, boat
from offline.rendering.procedural.parts import Draw, Part, assemble
from offline.rendering.procedural.rails import train
from offline.rendering.procedural.rider import helmet, motorcycle, skateboard
from offline.rendering.procedural.road import bus, car
from offline.rendering.procedural.street import bench, mailbox, trashcan
from offline.rendering.procedural.towers import tower

__all__ = ["CLASSES", "procedural_mesh"]

_BUILDERS: dict[str, Callable[[Draw], Sequence[Part]]] = {
    "airplane": airplane,
    "bench": bench,
    "trashcan": trashcan,
    "bus": bus,
    "car": car,
    "helmet": helmet,
    "mailbox": mailbox,
    "motorcycle": motorcycle,
    "skateboard": skateboard,
    "tower": tower,
    "train": train,
    "boat": boat,
}

CLASSES = tuple(_BUILDERS)


def procedural_mesh(name: str, generator: torch.Generator) -> Mesh:
    """Build a random object of a class: upright, its front towards +x, in the unit sphere.

    It has 150 to 1,500 faces. Body colours are drawn alike for every class, so that only shape and
    the place of its parts tell one class from another.

    Raises:
        BadInput: there is no class of that name.
    """
    if name not in _BUILDERS:
        raise BadInput(f"no procedural class {name!r}{nearest(name, CLASSES)}")
    return assemble(name, _BUILDERS[name](Draw(generator)))
