"""Triangle meshes: checked, with their edges, read by `files` or built by `procedural`."""

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from guard.errors import BadInput

__all__ = ["Mesh", "merged", "places"]


@dataclass(frozen=True)
class Mesh:
    """One triangle mesh, y up; faces that meet share vertices, so that edges can be told.

    Pictures and smooth shading are optional. `uv`, `tile` and `smoothing` are of the first faces;
    faces beyond their ends are without a picture, and flat.

    Raises:
        BadInput: there is no face, a number is not finite, a colour is outside [0, 1], a face names
            a vertex, or a picture, that there is none of, or lengths do not agree.
    """

    name: str
    vertices: Float[Tensor, "vertex 3"]
    faces: Int64[Tensor, "face 3"]
    colours: Float[Tensor, "face 3"]
    """RGB in [0, 1], one per face; a factor on the picture where there is one."""
    uv: Float[Tensor, "painted 3 2"] = field(default_factory=lambda: torch.zeros(0, 3, 2))
    """The place of each corner in its picture, (0, 0) the lower left; pictures repeat."""
    tile: Int64[Tensor, " painted"] = field(default_factory=lambda: torch.zeros(0).long())
    """Which of `pictures` a face shows; -1: none."""
    pictures: tuple[Float[Tensor, "3 _ _"], ...] = ()
    """RGB in [0, 1], the first row on top; values as stored in files, without any gamma taken."""
    smoothing: Int64[Tensor, "smooth 3"] = field(
        default_factory=lambda: torch.zeros(0, 3, dtype=torch.int64)
    )
    """The group of each corner, from 0, in which the normals of faces are averaged; -1 is flat."""

    def __post_init__(self) -> None:
        count = len(self.faces)
        if count == 0:
            raise BadInput(f"mesh {self.name!r} has no faces; at least one is wanted")
        for what in ("vertices", "colours", "uv"):
            values: Tensor = getattr(self, what)
            bad = int((~values.isfinite()).flatten(1).any(dim=1).sum())
            if bad:
                raise BadInput(f"mesh {self.name!r}: {bad} {what} are NaN or infinite")
        for what, colours in (("colour", self.colours), *(("picture", p) for p in self.pictures)):
            if not (colours.numel() and 0 <= float(colours.min()) <= float(colours.max()) <= 1):
                raise BadInput(f"mesh {self.name!r}: a {what} is empty or outside [0, 1]")
        self._expect("colours", len(self.colours), count, count)
        self._expect("rows of tile", len(self.tile), len(self.uv), len(self.uv))
        self._expect("rows of uv", len(self.uv), 0, count)
        self._expect("rows of smoothing", len(self.smoothing), 0, count)
        for what, numbers, least, most in (
            ("face names vertex", self.faces, 0, len(self.vertices) - 1),
            ("face shows picture", self.tile, -1, len(self.pictures) - 1),
            ("corner is of smoothing group", self.smoothing, -1, 3 * count - 1),
        ):
            wrong = numbers[(numbers < least) | (numbers > most)]
            if len(wrong):
                raise BadInput(
                    f"mesh {self.name!r}: a {what} {int(wrong[0])}, allowed are {least} to {most}"
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
        return dataclasses.replace(self, vertices=centred / radius)

    def _expect(self, what: str, length: int, least: int, most: int) -> None:
        if not least <= length <= most:
            wanted = f"{most}" if least == most else f"{least} to {most}"
            raise BadInput(f"mesh {self.name!r} has {length} {what}; {wanted} are wanted")


def merged(name: str, vertices: np.ndarray, faces: np.ndarray, colours: np.ndarray) -> Mesh:
    """Build a mesh from arrays; vertices at the same place (to 1e-6 of the size) become one."""
    kept, index = places(vertices)
    faces = index[faces]
    corners = np.sort(faces, axis=1)
    solid = (corners[:, 0] != corners[:, 1]) & (corners[:, 1] != corners[:, 2])
    return Mesh(
        name,
        torch.from_numpy(vertices[kept]).float(),
        torch.from_numpy(faces[solid]).long(),
        torch.from_numpy(colours[solid]).float(),
    )


def places(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the vertices [v, 3] that share a place, to 1e-6 of the size, which must be finite.

    Returns:
        One vertex number of each place, and for each vertex the number of its place.
    """
    size = max(float(np.ptp(vertices, axis=0).max()), 1e-12)
    steps = np.round(vertices / (size * 1e-6)).astype(np.int64)
    steps -= steps.min(axis=0)  # now 20 bits each, so that a place is one number
    code = (steps[:, 0] << 42) | (steps[:, 1] << 21) | steps[:, 2]
    _, kept, index = np.unique(code, return_index=True, return_inverse=True)
    return kept, index.reshape(-1)
