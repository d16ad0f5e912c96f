"""Which corners of a mesh are shaded as one smooth surface: groups by normals or by creases."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from offline.rendering.meshes.mesh import Mesh

__all__ = ["groups_by_crease", "groups_by_normals", "wound_against"]

FLAT = 0.9998
"""Cosine between the normals of a group's faces (1°) above which the group is a plane."""
FINENESS = 100
"""Normals that agree to a hundredth are the same."""


def groups_by_normals(
    mesh: Mesh, normals: Float[np.ndarray, "face 3 3"]
) -> Int64[np.ndarray, "face 3"]:
    """Put the corners at one vertex that have the same unit normal into one group."""
    steps = np.round(normals.reshape(-1, 3) * FINENESS).astype(np.int64) + 2 * FINENESS
    width = 4 * FINENESS
    vertex = mesh.faces.numpy().reshape(-1)
    code = ((vertex * width + steps[:, 0]) * width + steps[:, 1]) * width + steps[:, 2]
    return _without_planes(mesh, np.unique(code, return_inverse=True)[1].reshape(-1))


def groups_by_crease(mesh: Mesh, degrees: float) -> Int64[np.ndarray, "face 3"]:
    """Join the corners of two faces at both ends of their edge, where they bend by less than this.

    Corners that are joined by way of others are of one group too.
    """
    edges = mesh.edges.numpy()
    edges = edges[edges[:, 3] >= 0]
    normals = _normals(mesh)
    cosines = (normals[edges[:, 2]] * normals[edges[:, 3]]).sum(axis=1)
    edges = edges[cosines > np.cos(np.deg2rad(degrees))]
    faces = mesh.faces.numpy()
    here, there = (
        np.concatenate(
            [3 * edges[:, f] + (faces[edges[:, f]] == edges[:, v, None]).argmax(1) for v in (0, 1)]
        )
        for f in (2, 3)
    )
    graph = coo_matrix((np.ones(len(here), dtype=np.int8), (here, there)), (faces.size, faces.size))
    return _without_planes(mesh, connected_components(graph, directed=False)[1].astype(np.int64))


def wound_against(
    vertices: Float[np.ndarray, "vertex 3"],
    faces: Int64[np.ndarray, "face 3"],
    normals: Float[np.ndarray, "face 3 3"],
) -> np.ndarray:
    """Return which faces [face] run clockwise as their normals see them, by their corners."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    turned: np.ndarray = (np.cross(b - a, c - a) * normals.sum(axis=1)).sum(axis=1) < 0
    return turned


def _without_planes(mesh: Mesh, group: np.ndarray) -> Int64[np.ndarray, "face 3"]:
    """Number the groups from 0, but -1 those whose faces are all parallel."""
    normals = np.repeat(_normals(mesh), 3, axis=0)
    first = np.zeros(int(group.max()) + 1, dtype=np.int64)
    first[group[::-1]] = np.arange(len(group))[::-1]
    bent = (normals * normals[first[group]]).sum(axis=1) < FLAT
    curved = np.zeros(len(first), dtype=bool)
    curved[group[bent]] = True
    number: np.ndarray = np.where(curved, np.cumsum(curved) - 1, -1)[group]
    return number.reshape(-1, 3)


def _normals(mesh: Mesh) -> Float[np.ndarray, "face 3"]:
    corners = mesh.vertices.double()[mesh.faces]
    sides: Tensor = corners[:, 1:] - corners[:, :1]
    normals = torch.cross(sides[:, 0], sides[:, 1], dim=1)
    unit: np.ndarray = torch.nn.functional.normalize(normals, dim=1, eps=1e-30).numpy()
    return unit
