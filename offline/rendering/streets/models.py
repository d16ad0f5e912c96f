"""What drives, is parked and stands in a street: procedural, or from a folder of meshes."""

import dataclasses
from functools import lru_cache
from pathlib import Path

import torch

from guard.errors import BadInput, nearest
from offline.rendering.meshes.files import FORMATS, load_mesh
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.procedural import CLASSES, procedural_mesh
from offline.rendering.streets.parts import SCENERY

__all__ = ["SIZES", "VEHICLES", "StreetModels"]

SIZES = {
    "car": (0, 4.4), "bus": (0, 10.5), "motorcycle": (0, 2.1), "bicycle": (0, 1.8),
    "truck": (0, 7.5), "tank": (0, 7.0), "bench": (1, 0.95), "trashcan": (1, 1.1),
    "mailbox": (1, 1.35),
}  # fmt: skip
"""What can be in a street: the axis along which it is measured (0 its length, 1 its height), and
metres."""
VEHICLES = ("car", "bus", "motorcycle", "bicycle", "truck", "tank")


class StreetModels:
    """The meshes that streets draw from, and the numbers of their classes.

    Numbers are those of the procedural classes, or of the folder's sub-folders in order, and after
    them those of the scenery.

    Args:
        folder: holds CLASS/FILE for classes of `SIZES`, each with its front towards +x; left out,
            objects are built by `procedural_mesh`.

    Raises:
        BadInput: the folder has no mesh of a class that can be in a street.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._files: dict[str, list[Path]] = {}
        self.objects: tuple[str, ...] = CLASSES
        if folder is not None:
            for name in SIZES:
                files = sorted(p for p in (folder / name).glob("*") if p.suffix.lower() in FORMATS)
                if files:
                    self._files[name] = files
            self.objects = tuple(sorted(self._files))
            if not self.objects:
                raise BadInput(
                    f"{folder}: no mesh of a class that can be in a street: CLASS/FILE with CLASS "
                    f"one of {', '.join(SIZES)}"
                )
        self.classes = (*self.objects, *SCENERY)

    def available(self, names: tuple[str, ...]) -> list[str]:
        """Return those of some names that there are meshes of."""
        return [name for name in names if name in self.objects]

    def check(self, name: str) -> None:
        """Make sure that there are meshes of a class, and that it can be in a street.

        Raises:
            BadInput: there is none.
        """
        allowed = self.available(tuple(SIZES))
        if name not in allowed:
            raise BadInput(f"no {name!r} for a street{nearest(name, allowed)}")

    def draw(self, name: str, generator: torch.Generator) -> tuple[Mesh, float]:
        """Draw a mesh of a class, and by what it is scaled to metres.

        Its colours, which are those of a picture, become reflectances.

        Raises:
            BadInput: as `check`.
        """
        self.check(name)
        if name in self._files:
            files = self._files[name]
            mesh = _read(files[int(torch.randint(len(files), (), generator=generator))])
        else:
            mesh = procedural_mesh(name, generator)
        axis, size = SIZES[name]
        extent = mesh.vertices[:, axis].amax() - mesh.vertices[:, axis].amin()
        mesh = dataclasses.replace(mesh, colours=mesh.colours.clamp(0, 1) ** 1.8)
        return mesh, size / max(float(extent), 1e-6)


@lru_cache(maxsize=64)
def _read(path: Path) -> Mesh:
    return load_mesh(path)
