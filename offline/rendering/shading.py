"""The colour of a surface: Lambert, Blinn-Phong and ambient light, differentiable."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import embedding, normalize

from offline.rendering.camera import view_rotation
from offline.rendering.scene import Scene

__all__ = ["SHININESS", "shade", "surface_normals"]

SHININESS = 32.0


def shade(
    scene: Scene,
    normals: Float[Tensor, "pixel 3"],
    rays: Float[Tensor, "pixel 3"],
    scene_of: Int64[Tensor, " pixel"],
    face_of: Int64[Tensor, " pixel"],
) -> Float[Tensor, "pixel 3"]:
    """Return RGB in [0, 1] at pixels whose visible face is known.

    base · colour · (ambient + intensity · max(n·l, 0)) + intensity · gloss · max(n·h, 0)^32, where
    l points to the light, v to the camera, h = (l + v) / |l + v|, and n is turned towards v. The
    light is at infinity, so that within a face only v varies.

    Args:
        scene: the batch that the pixels are of.
        normals: in camera axes, of any length but 0.
        rays: from the camera through each pixel, of any length but 0.
        scene_of: the scene of each pixel.
        face_of: the face that each pixel shows.
    """
    direction = normalize(scene.light[:, :3], dim=1)[:, :, None]
    light = (view_rotation(scene.camera) @ direction)[:, :, 0]
    terms = (light, scene.light[:, 3:], scene.colour, scene.gloss[:, None])
    light, intensity, ambient, tint, gloss = embedding(scene_of, torch.cat(terms, dim=1)).split(
        [3, 1, 1, 3, 1], dim=1
    )
    number = scene_of * scene.faces.shape[1] + face_of
    base = embedding(number, scene.face_colours.reshape(-1, 3))

    view = -normalize(rays, dim=1)
    normal = normalize(normals, dim=1)
    normal = torch.where(_dot(normal, view) < 0, -normal, normal)
    facing = _dot(normal, light).relu()
    mirror = _dot(normal, normalize(light + view, dim=1)).relu() ** SHININESS
    highlight = intensity * gloss * mirror * (facing > 0)
    colours: Tensor = base * tint * (ambient + intensity * facing) + highlight
    return colours.clamp(0, 1)


def surface_normals(corners: Float[Tensor, "pixel 3 3"]) -> Float[Tensor, "pixel 3"]:
    """Return the normals of triangles, twice their area long."""
    sides = corners[:, 1:] - corners[:, :1]
    return torch.cross(sides[:, 0], sides[:, 1], dim=1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=1, keepdim=True)
