"""What the pixels show: the face that each one sees, and where on it the pixel's ray arrives."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import embedding

from offline.rendering.camera import pixel_rays
from offline.rendering.scene import Scene

__all__ = ["Fragments", "fragments"]


class Fragments(NamedTuple):
    """The pixels, or samples of pixels, that show an object. Gradients flow through the floats."""

    number: Int64[Tensor, " fragment"]
    """In the flat batch of images."""
    scene: Int64[Tensor, " fragment"]
    face: Int64[Tensor, " fragment"]
    """Within its scene."""
    object: Int64[Tensor, " fragment"]
    """Within its scene."""
    rays: Float[Tensor, "fragment 3"]
    """From the camera through the centre, in camera axes, at depth 1."""
    triangles: Float[Tensor, "fragment 3 3"]
    """Corners of the face in camera axes."""
    normals: Float[Tensor, "fragment 3"]
    """Of the face, in camera axes, twice its area long."""
    offsets: Float[Tensor, "fragment 1"]
    """normal · corner; the ray arrives at ray · offset / (normal · ray)."""

    def places(self) -> Float[Tensor, "fragment 3"]:
        """Return where the rays arrive, in camera axes."""
        slope = (self.normals * self.rays).sum(1, keepdim=True)
        # A face seen edge on has no such place; 1 keeps its gradient, which is 0, finite.
        return self.rays * (self.offsets / torch.where(slope == 0, 1, slope))

    def weights(self) -> Float[Tensor, "fragment 3"]:
        """Return the barycentric coordinates of `places`, corrected for perspective."""
        sides = self.triangles - self.places()[:, None]
        parts = torch.cross(sides[:, [1, 2, 0]], sides[:, [2, 0, 1]], dim=2)
        parts = (parts * self.normals[:, None]).sum(2)
        whole = self.normals.square().sum(1, keepdim=True)
        return parts / torch.where(whole == 0, 1, whole)


def fragments(
    scene: Scene,
    positions: Float[Tensor, "batch vertex 3"],
    visible: Int64[Tensor, "batch height width"],
) -> Fragments:
    """Return what the pixels of `visible`, as from `visible_faces`, show of objects.

    `positions` are the vertices in camera axes.
    """
    height, width = visible.shape[1:]
    scene_of, y, x = (visible >= 0).nonzero(as_tuple=True)
    face = visible[scene_of, y, x]
    corners = scene.faces[scene_of, face] + scene_of[:, None] * positions.shape[1]
    triangles = embedding(corners, positions.reshape(-1, 3))
    sides = triangles[:, 1:] - triangles[:, :1]
    normals = torch.cross(sides[:, 0], sides[:, 1], dim=1)
    field = embedding(scene_of, scene.camera[:, 3:4])[:, 0]
    return Fragments(
        number=(scene_of * height + y) * width + x,
        scene=scene_of,
        face=face,
        object=scene.owners.reshape(-1)[corners[:, 0]],
        rays=pixel_rays(field, y.to(field.dtype), x.to(field.dtype), height, width),
        triangles=triangles,
        normals=normals,
        offsets=(normals * triangles[:, 0]).sum(1, keepdim=True),
    )
