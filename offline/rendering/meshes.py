"""Triangle meshes: checked, with their edges, read from files or built by `procedural`."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int64
from torch import Tensor

from guard.errors import BadInput

__all__ = ["Mesh", "load_mesh", "merged"]

FORMATS = (".obj", ".glb", ".gltf", ".ply", ".off", ".stl")


@dataclass(frozen=True)
class Mesh:
    """One triangle mesh, y up; faces that meet share vertices, so that edges can be told.

    Raises:
        BadInput: there is no face, a vertex or colour is not finite, a face names no vertex.
    """

    name: str
    vertices: Float[Tensor, "vertex 3"]
    faces: Int64[Tensor, "face 3"]
    colours: Float[Tensor, "face 3"]
    """RGB in [0, 1], one per face."""

    def __post_init__(self) -> None:
        if len(self.faces) == 0:
            raise BadInput(f"mesh {self.name!r} has no faces; at least one is wanted")
        for what, values in (("vertices", self.vertices), ("colours", self.colours)):
            bad = int((~values.isfinite()).any(dim=1).sum())
            if bad:
                raise BadInput(f"mesh {self.name!r}: {bad} {what} are NaN or infinite")
        low, high = int(self.faces.min()), int(self.faces.max())
        if low < 0 or high >= len(self.vertices):
            raise BadInput(
                f"mesh {self.name!r}: a face names vertex {low if low < 0 else high}, "
                f"allowed are 0 to {len(self.vertices) - 1}"
            )

    @cached_property
    def edges(self) -> Int64[Tensor, "edge 4"]:
        """Return each edge as (vertex, vertex, face, other face); -1 where there is no other face.

        An edge of three or more faces is listed once for each of them, as if it were a border.
        """
        faces = self.faces.cpu().numpy()
        halves = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        owner = np.repeat(np.arange(len(faces)), 3)
        code = halves[:, 0] * len(self.vertices) + halves[:, 1]
        order = np.argsort(code, kind="stable")
        code, halves, owner = code[order], halves[order], owner[order]
        first = np.flatnonzero(np.diff(code, prepend=-1))
        uses = np.diff(first, append=len(code))
        pairs = first[uses == 2]
        borders = np.flatnonzero(np.repeat(uses != 2, uses))
        inner = np.column_stack((halves[pairs], owner[pairs], owner[pairs + 1]))
        outer = np.column_stack((halves[borders], owner[borders], np.full(len(borders), -1)))
        return torch.from_numpy(np.concatenate((inner, outer)).astype(np.int64))

    def normalised(self) -> "Mesh":
        """Centre the bounding box on the origin and scale the mesh into the unit sphere."""
        low, high = self.vertices.amin(dim=0), self.vertices.amax(dim=0)
        centred = self.vertices - (low + high) / 2
        radius = centred.norm(dim=1).amax().clamp_min(1e-12)
        return Mesh(self.name, centred / radius, self.faces, self.colours)


def load_mesh(path: Path) -> Mesh:
    """Read an OBJ, GLB, glTF, PLY, OFF or STL file, centred and scaled into the unit sphere.

    A file of several parts becomes one mesh. Materials, textures and vertex colours become one
    colour per face (the mean over it); vertices at the same place are merged.

    Raises:
        BadInput: the file is missing, of another format, damaged, or holds no usable mesh.
    """
    if path.suffix.lower() not in FORMATS:
        raise BadInput(f"{path}: not a mesh file; allowed are {', '.join(FORMATS)}")
    if not path.is_file():
        raise BadInput(f"{path}: cannot be read: there is no such file")
    try:
        loaded = trimesh.load_scene(path)
        parts = [part for part in loaded.dump() if isinstance(part, trimesh.Trimesh)]
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # trimesh raises whatever its parsers raise
        raise BadInput(f"{path}: not a mesh: {type(error).__name__}: {error}") from None
    parts = [part for part in parts if len(part.faces)]
    if not parts:
        raise BadInput(f"mesh {str(path)!r} has no faces; at least one is wanted")
    colours = np.concatenate([_face_colours(part) for part in parts])
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)])
    vertices = np.concatenate([part.vertices for part in parts])
    return merged(str(path), vertices, faces, colours).normalised()


def merged(name: str, vertices: np.ndarray, faces: np.ndarray, colours: np.ndarray) -> Mesh:
    """Build a mesh from arrays; vertices at the same place (to 1e-6 of the size) become one."""
    size = max(float(np.ptp(vertices, axis=0).max()), 1e-12)
    _, kept, index = np.unique(
        np.round(vertices / (size * 1e-6)), axis=0, return_index=True, return_inverse=True
    )
    faces = index.reshape(-1)[faces]
    corners = np.sort(faces, axis=1)
    solid = (corners[:, 0] != corners[:, 1]) & (corners[:, 1] != corners[:, 2])
    return Mesh(
        name,
        torch.from_numpy(vertices[kept]).float(),
        torch.from_numpy(faces[solid]).long(),
        torch.from_numpy(colours[solid]).float(),
    )


def _face_colours(part: trimesh.Trimesh) -> np.ndarray:
    visual: Any = part.visual  # colours, or a material with or without a picture, by `kind`
    if visual.kind == "texture":
        material = visual.material
        picture = getattr(material, "image", None) or getattr(material, "baseColorTexture", None)
        painted = picture is not None and visual.uv is not None
        if painted:  # the colours at the three corners, which is all that a palette holds
            colours = visual.to_color().vertex_colors[part.faces].mean(axis=1)
        else:
            colours = material.main_color
    else:
        colours = visual.face_colors
    colours = np.asarray(colours, dtype=np.float64)[..., :3] / 255
    return np.broadcast_to(colours, (len(part.faces), 3))
