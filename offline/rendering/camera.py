"""From the mesh to the camera: rotation, the pinhole projection, and the ray of each pixel.

Camera axes: x right, y up, the view along -z. Screen coordinates are in pixels with the centre of
the first pixel at (0, 0), x to the right, y down; beside them goes 1 / depth, which, unlike
depth, is linear on the screen.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from offline.rendering.gathering import rows_of
from offline.rendering.scene import Scene

__all__ = ["pixel_rays", "rotation", "to_camera", "to_screen", "to_world", "view_rotation"]


def rotation(pose: Float[Tensor, "*item 3"]) -> Float[Tensor, "*item 3 3"]:
    """Return Rz · Ry · Rx of Euler angles in radians."""
    (cx, cy, cz), (sx, sy, sz) = pose.cos().unbind(-1), pose.sin().unbind(-1)
    rows = (
        (cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx),
        (sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx),
        (-sy, cy * sx, cy * cx),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def view_rotation(camera: Float[Tensor, "batch 8"]) -> Float[Tensor, "batch 3 3"]:
    """Return the rotation from world to camera axes; its rows are right, up and backward.

    A camera that rolls by a positive angle turns clockwise, and its image the other way.
    """
    angles = camera[:, [1, 2, 4]]
    (ca, ce, cr), (sa, se, sr) = angles.cos().unbind(1), angles.sin().unbind(1)
    right = torch.stack((ca, torch.zeros_like(ca), -sa), dim=1)
    up = torch.stack((-se * sa, ce, -se * ca), dim=1)
    backward = torch.stack((ce * sa, se, ce * ca), dim=1)
    cr, sr = cr[:, None], sr[:, None]
    return torch.stack((cr * right - sr * up, sr * right + cr * up, backward), dim=1)


def to_world(scene: Scene) -> Float[Tensor, "batch vertex 3"]:
    """Return the vertices of every scene in world coordinates."""
    turn = rotation(scene.pose) * scene.scale[..., None, None]
    count = scene.pose.shape[1]
    owner = scene.owners + count * torch.arange(len(scene), device=scene.owners.device)[:, None]
    local = scene.points + scene.vertices
    if count == 1:
        alone: Tensor = local @ turn[:, 0].mT + scene.translation
        return alone
    turned = rows_of(owner, turn.reshape(-1, 9)).unflatten(2, (3, 3)) @ local[..., None]
    moved: Tensor = turned[..., 0] + rows_of(owner, scene.translation.reshape(-1, 3))
    return moved


def to_camera(
    points: Float[Tensor, "batch point 3"], camera: Float[Tensor, "batch 8"]
) -> Float[Tensor, "batch point 3"]:
    """Turn world coordinates into camera coordinates."""
    back = torch.nn.functional.pad(camera[:, None, :1], (2, 0))
    return (points - camera[:, None, 5:]) @ view_rotation(camera).mT - back


def to_screen(
    positions: Float[Tensor, "batch vertex 3"],
    field_of_view: Float[Tensor, " batch"],
    height: int,
    width: int,
) -> Float[Tensor, "batch vertex 3"]:
    """Project camera coordinates to (x, y, 1 / depth); behind the camera 1 / depth is negative."""
    focal = _focal_length(field_of_view, height)[:, None]
    # A point in the camera's own plane has no place on the screen; it is taken to be just behind.
    inverse = -1 / torch.where(positions[..., 2] == 0, 1e-9, positions[..., 2])
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
