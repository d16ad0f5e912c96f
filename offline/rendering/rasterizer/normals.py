"""The directions that a surface faces when it is shaded: of each flat face, or smoothed over many.

A smooth surface is drawn as faces whose corners carry the mean of the normals around them. The
normals are worked out anew from the vertices as they are moved, so that their gradient is right.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import normalize

from offline.rendering.gathering import rows_of, sums_of
from offline.rendering.rasterizer.fragments import FacesInSight, Fragments
from offline.rendering.scene import Scene

__all__ = ["CANCELLED", "corner_groups", "flat_normals", "group_normals", "smooth_normals"]

CANCELLED = 1e-4
"""Of a face's own normal: a sum of normals below it is rounding."""


def flat_normals(faces: FacesInSight) -> Float[Tensor, "seen 3"]:
    """Return the unit normals of faces on the side of the camera, in camera axes."""
    return _towards_camera(normalize(faces.normals, dim=1), faces)


def smooth_normals(
    scene: Scene, seen: Fragments, weights: Float[Tensor, "fragment 3"]
) -> Float[Tensor, "fragment 3"]:
    """Return unit normals in camera axes, mixed from the corners of each face by their weights.

    A corner has the normal of its group, or of its face where it has no group or the normals of
    the group cancel. Which side of a face the camera sees is told by the face itself: at the rim of
    a coarse mesh the smooth normal may lean a little away from the camera, without a jump.
    """
    faces = seen.faces
    sums = rows_of(corner_groups(scene, faces), group_normals(scene, seen.positions))
    own = faces.normals[:, None]
    alone = sums.norm(dim=2, keepdim=True) <= CANCELLED * own.norm(dim=2, keepdim=True)
    corners = normalize(torch.where(alone, own, sums), dim=2)
    corners = _towards_camera(corners.flatten(1), faces)
    between = rows_of(seen.slot, corners).unflatten(1, (3, 3))
    return normalize((weights[:, :, None] * between).sum(1), dim=1)


def corner_groups(scene: Scene, faces: FacesInSight) -> Int64[Tensor, "seen 3"]:
    """Return the row in `group_normals` of each corner; 0: it has no group."""
    smooth = scene.smoothing.shape[1]
    row = faces.scene * smooth + faces.number.clamp(max=smooth - 1)
    group = scene.smoothing.reshape(-1, 3)[row]
    known = (group >= 0) & (faces.number < smooth)[:, None]
    return torch.where(known, 1 + group + faces.scene[:, None] * _most_groups(scene), 0)


def group_normals(
    scene: Scene, positions: Float[Tensor, "batch vertex 3"]
) -> Float[Tensor, "group 3"]:
    """Return the sum of the normals of all faces around the corners of each group.

    Faces count by their area. Row 0 is 0 and stands for no group; then come the groups of the
    scenes, 3 for each face whether they are used or not.
    """
    smooth = scene.smoothing.shape[1]
    groups, faces = scene.smoothing, scene.faces[:, :smooth]
    owner = torch.arange(len(scene), device=faces.device)[:, None, None]
    vertices = faces.clamp_min(0) + owner * positions.shape[1]
    a, b, c = rows_of(vertices, positions.reshape(-1, 3)).unbind(2)
    normals = torch.cross(b - a, c - a, dim=2)
    most = _most_groups(scene)
    rows = torch.where(groups < 0, 0, 1 + groups + owner * most)
    corners = normals[:, :, None].expand(-1, -1, 3, -1).reshape(-1, 3)
    sums = sums_of(rows.flatten(), corners, 1 + len(scene) * most)
    return torch.cat((torch.zeros_like(sums[:1]), sums[1:]))


def _most_groups(scene: Scene) -> int:
    return 3 * scene.faces.shape[1]


def _towards_camera(normals: Tensor, faces: FacesInSight) -> Tensor:
    return torch.where(faces.offsets > 0, -normals, normals)
