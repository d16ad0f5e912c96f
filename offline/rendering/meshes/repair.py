"""Faces as files hold them, and what makes them fit to be drawn: none bad, and not too many."""

from typing import NamedTuple

import fast_simplification
import numpy as np
from jaxtyping import Bool, Float, Int64
from scipy.spatial import cKDTree

from offline.rendering.meshes.mesh import places

__all__ = ["Surface", "simplified", "sound_faces"]

NEEDLE = 1e-6
"""A face whose height is less than this part of its longest side has no area."""


class Surface(NamedTuple):
    """The faces of a file, with all that is known of their corners."""

    vertices: Float[np.ndarray, "vertex 3"]
    faces: Int64[np.ndarray, "face 3"]
    colours: Float[np.ndarray, "face 3"]
    uv: Float[np.ndarray, "face 3 2"]
    tile: Int64[np.ndarray, " face"]
    normals: Float[np.ndarray, "face 3 3"]
    """Unit normals of the corners; NaN where the file has none."""

    def merged(self) -> "Surface":
        """Make one of the vertices at the same place, and drop those that no face uses."""
        used, faces = np.unique(self.faces, return_inverse=True)
        kept, index = places(self.vertices[used])
        return self._replace(
            vertices=self.vertices[used][kept], faces=index[faces.reshape(self.faces.shape)]
        )

    def turned(self, rotation: Float[np.ndarray, "3 3"]) -> "Surface":
        """Turn places and normals."""
        return self._replace(vertices=self.vertices @ rotation.T, normals=self.normals @ rotation.T)

    def of(self, chosen: Bool[np.ndarray, " face"] | Int64[np.ndarray, " chosen"]) -> "Surface":
        """Take some of the faces."""
        return Surface(self.vertices, *(values[chosen] for values in self[1:]))


def sound_faces(surface: Surface) -> tuple[Bool[np.ndarray, " face"], Bool[np.ndarray, " face"]]:
    """Tell for each face whether it has an area, and whether it is the first between its corners.

    Faces of the same three vertices are the same face, whichever way they are wound.
    """
    a, b, c = (surface.vertices[surface.faces[:, corner]] for corner in range(3))
    sides = np.stack((b - a, c - b, a - c), axis=1)
    longest = (sides**2).sum(axis=2).max(axis=1)
    doubled = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    first = np.zeros(len(surface.faces), dtype=bool)
    first[np.unique(np.sort(surface.faces, axis=1), axis=0, return_index=True)[1]] = True
    return doubled > NEEDLE * longest, first


def simplified(surface: Surface, pictures: list[np.ndarray], most: int) -> Surface:
    """Collapse edges, those that change the shape least first, until at most `most` faces are left.

    Quadric error metrics (Garland and Heckbert 1997), by fast-simplification. A new face has the
    colour of the old one nearest to its centre, where its picture was looked up; neither pictures
    nor normals are kept.
    """
    vertices, faces = fast_simplification.simplify(
        surface.vertices, surface.faces.astype(np.int32), target_count=most
    )
    old, new = (points[f].mean(axis=1) for points, f in (surface[:2], (vertices, faces)))
    nearest = cKDTree(old).query(new)[1]
    source = surface.of(nearest)
    return Surface(
        np.asarray(vertices, dtype=np.float64),
        np.asarray(faces, dtype=np.int64),
        source.colours * _looked_up(source, pictures),
        np.zeros((len(faces), 3, 2)),
        np.full(len(faces), -1),
        np.full((len(faces), 3, 3), np.nan),
    ).merged()


def _looked_up(surface: Surface, pictures: list[np.ndarray]) -> Float[np.ndarray, "face 3"]:
    """Return the texel under the middle of each face; white where it has no picture."""
    colours = np.ones((len(surface.faces), 3))
    middle = surface.uv.mean(axis=1) % 1
    for number, picture in enumerate(pictures):
        chosen = surface.tile == number
        rows, columns = picture.shape[1:]
        row = np.minimum((1 - middle[chosen, 1]) * rows, rows - 1).astype(int)
        column = np.minimum(middle[chosen, 0] * columns, columns - 1).astype(int)
        colours[chosen] = picture[:, row, column].T
    return colours
