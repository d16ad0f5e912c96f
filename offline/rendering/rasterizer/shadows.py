"""Hard shadows: which light reaches what is seen. `shadow_borders` has their gradient."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import normalize, pad

from offline.rendering.camera import to_camera, view_rotation
from offline.rendering.rasterizer.fragments import Fragments
from offline.rendering.rasterizer.occlusion import Occluders, occluders
from offline.rendering.scene import Scene

__all__ = ["LIT", "Shadows", "shadows"]

LIT, UNASKED = -1, -2  # no face blocks the light; there is none to block
_LIFT = 5e-5  # of the height that is seen at the depth of a place: a hundredth of a sample
_ROUNDING = 1e-6  # the same, of the largest coordinate of the scene


class Shadows(NamedTuple):
    """Which light arrives at the fragments. Nothing here but `lights` has a gradient."""

    lights: Float[Tensor, "batch light 4"]
    """In camera axes, as in `occlusion`: the light at infinity and the lamps."""
    blocker: Int64[Tensor, "fragment light"]
    """The face that blocks the light, or < 0: it is lit, or dark for other reasons."""
    starts: Float[Tensor, "fragment 3"]
    """Where a face is asked from: its normal towards the camera, as long as it is lifted."""
    occluders: Occluders

    def lit(self) -> Float[Tensor, "fragment light"]:
        """Return 0 in the shadow of another face, and 1 where shading alone decides."""
        return (self.blocker < 0).to(self.starts.dtype)


def shadows(scene: Scene, seen: Fragments) -> Shadows:
    """Ask which face lies between each fragment and each light that is on and in front of it."""
    lights, positions = _lights(scene), seen.positions
    with torch.no_grad():
        places, count = seen.places(), lights.shape[1]
        normals = normalize(seen.normals, dim=1)
        normals = torch.where((normals * seen.rays).sum(1, keepdim=True) > 0, -normals, normals)
        reach = positions.abs().amax((1, 2))[seen.scene, None]
        field = scene.camera[seen.scene, 3:4]
        starts = normals * (_LIFT * field * -places[:, 2:] + _ROUNDING * reach)
        colours = torch.cat((scene.light[:, None, 3:], scene.lamps[:, :, 3:]), dim=1)
        source = seen.scene[:, None] * count + torch.arange(count, device=places.device)
        light = lights.view(-1, 4)[source]
        towards = light[..., :3] - light[..., 3:] * places[:, None]
        asked = (towards * normals[:, None]).sum(2) > 0
        if not (scene.light.requires_grad or scene.lamps.requires_grad):
            asked &= (colours != 0).any(2).view(-1)[source]  # else its gradient has shadows too
        asking = asked.nonzero()[:, 0]
        blocking = occluders(positions, scene.faces, lights)
        blocker = torch.full_like(source, UNASKED)
        blocker[asked] = blocking.blocking(source[asked], (places + starts)[asking])
    return Shadows(lights, blocker, starts, blocking)


def _lights(scene: Scene) -> Float[Tensor, "batch light 4"]:
    """Return the light at infinity and the lamps of each scene, in camera axes."""
    turn = view_rotation(scene.camera)
    direction = scene.light[:, None, :3] @ turn.mT
    lamps = to_camera(scene.lamps[:, :, :3], scene.camera)
    return torch.cat((pad(direction, (0, 1)), pad(lamps, (0, 1), value=1.0)), dim=1)
