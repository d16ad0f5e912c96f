"""From the mesh to the camera: rotation, the pinhole projection, and the ray of each pixel.

Camera axes: x right, y up, the view along -z. Screen coordinates are in pixels with the centre of
the first pixel at (0, 0), x to the right, y down; beside them goes 1 / depth, which, unlike
depth, is linear on the screen.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from offline.rendering.scene import Scene

__all__ = ["pixel_rays", "rotation", "to_camera", "to_screen", "view_rotation"]


def rotation(pose: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch 3 3"]:
    """Return Rz · Ry · Rx of Euler angles in radians."""
    (cx, cy, cz), (sx, sy, sz) = pose.cos().unbind(1), pose.sin().unbind(1)
    rows = (
        (cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx),
        (sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx),
        (-sy, cy * sx, cy * cx),
    )
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def view_rotation(camera: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch 3 3"]:
    """Return the rotation from world to camera axes; its rows are right, up and backward."""
    (ca, ce), (sa, se) = camera[:, 1:3].cos().unbind(1), camera[:, 1:3].sin().unbind(1)
    rows = ((ca, torch.zeros_like(ca), -sa), (-se * sa, ce, -se * ca), (ce * sa, se, ce * ca))
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def to_camera(scene: Scene) -> Float[Tensor, "batch vertex 3"]:
    """Return the vertices of every scene in camera coordinates."""
    view = view_rotation(scene.camera)
    turn = view @ rotation(scene.pose) * scene.scale[:, None, None]
    shift = (view @ scene.translation[:, :, None])[:, :, 0]
    back = torch.nn.functional.pad(scene.camera[:, :1], (2, 0))
    return (scene.points + scene.vertices) @ turn.mT + (shift - back)[:, None]


def to_screen(
    positions: Float[Tensor, "batch vertex 3"],
    field_of_view: Float[Tensor, " batch"],
    height: int,
    width: int,
) -> Float[Tensor, "batch vertex 3"]:
    """Project camera coordinates to (x, y, 1 / depth); behind the camera 1 / depth is negative."""
    focal = _focal_length(field_of_view, height)[:, None]
    inverse = -1 / positions[..., 2]
    x = (width - 1) / 2 + focal * positions[..., 0] * inverse
    y = (height - 1) / 2 - focal * positions[..., 1] * inverse
    return torch.stack((x, y, inverse), dim=-1)


def pixel_rays(
    field_of_view: Float[Tensor, " pixel"],
    y: Float[Tensor, " pixel"],
    x: Float[Tensor, " pixel"],
    height: int,
    width: int,
) -> Float[Tensor, "pixel 3"]:
    """Return the ray through each pixel centre, in camera coordinates, at depth 1."""
    focal = _focal_length(field_of_view, height)
    right, up = (x - (width - 1) / 2) / focal, ((height - 1) / 2 - y) / focal
    return torch.stack((right, up, -torch.ones_like(right)), dim=1)


def _focal_length(field_of_view: Tensor, height: int) -> Tensor:
    """In pixels."""
    return height / 2 / (field_of_view / 2).tan()
