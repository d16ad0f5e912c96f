"""The colour of a surface: Lambert, Blinn-Phong and ambient light, differentiable."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import embedding, normalize

from offline.rendering.camera import to_camera, view_rotation
from offline.rendering.fragments import Fragments
from offline.rendering.scene import Scene

__all__ = ["SHININESS", "shade"]

SHININESS = 32.0


def shade(
    scene: Scene, seen: Fragments, lit: Float[Tensor, "fragment source"] | None = None
) -> Float[Tensor, "fragment 3"]:
    """Return RGB in [0, 1] of what is seen.

    base · colour · (ambient + light · max(n·l, 0)) + light · gloss · max(n·h, 0)^32, where l points
    to the light, v to the camera, h = (l + v) / |l + v|, and n is turned towards v. `lit`, as
    from `Shadows.lit`, is a factor on each light; none is 1.
    """
    direction = normalize(scene.light[:, :3], dim=1)[:, :, None]
    towards = (view_rotation(scene.camera) @ direction)[:, :, 0]
    ambient = scene.environment[:, 0] / (2 * torch.pi**0.5)
    terms = torch.cat((towards, scene.light[:, 3:], ambient), dim=1)
    towards, light, ambient = embedding(seen.scene, terms).split([3, 3, 3], dim=1)
    if lit is not None:
        light = light * lit[:, :1]
    materials = torch.cat((scene.colour, scene.gloss[:, :, None]), dim=2).reshape(-1, 4)
    owner = seen.scene * scene.colour.shape[1] + seen.object
    tint, gloss = embedding(owner, materials).split([3, 1], dim=1)
    number = seen.scene * scene.faces.shape[1] + seen.face
    base = embedding(number, scene.face_colours.reshape(-1, 3))

    view = -normalize(seen.rays, dim=1)
    normal = normalize(seen.normals, dim=1)
    normal = torch.where(_dot(normal, view) < 0, -normal, normal)
    facing = _dot(normal, towards).relu()
    mirror = _dot(normal, normalize(towards + view, dim=1)).relu() ** SHININESS
    highlight = light * gloss * mirror * (facing > 0)
    colours: Tensor = base * tint * (ambient + light * facing) + highlight
    for i, lamp in enumerate(scene.lamps.unbind(1)):
        offset, light = embedding(seen.scene, _in_camera(lamp, scene)).split([3, 3], dim=1)
        offset = offset - seen.places()
        facing = _dot(normal, normalize(offset, dim=1)).relu() / _dot(offset, offset)
        arriving = light if lit is None else light * lit[:, i + 1 : i + 2]
        colours = colours + base * tint * arriving * facing
    return colours.clamp(0, 1)


def _in_camera(lamp: Tensor, scene: Scene) -> Tensor:
    place = to_camera(lamp[:, None, :3], scene.camera)[:, 0]
    return torch.cat((place, lamp[:, 3:]), dim=1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=1, keepdim=True)
