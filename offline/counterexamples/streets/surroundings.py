"""What moves about the vehicles of a street: weather, time of day, foliage and other scenery."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize, pad

from offline.counterexamples.streets.object_boxes import numbers_of, of_classes
from offline.rendering.camera import pixel_rays, view_rotation
from offline.rendering.scene import Scene

__all__ = ["Foliage", "Weather"]

FOG_LAYER, FARTHEST = 60.0, 2000.0  # metres of fog above the ground; what a sky's haze ends at
DUSK = (0.20, 0.25, 0.32)  # by which red, green and blue fade; the evening is red


@dataclass(frozen=True)
class Weather:
    """Weather and time of day: four numbers of each scene, 0 as it was.

    1. haze: the density of the fog grows e-fold per unit; the sky is seen through 60 m of it.
    2. clouds: the sun's light falls by e^(-1/2) per unit, that from all around grows by e^(1/8),
       and the sky fades towards grey.
    3. dusk: all daylight falls by a quarter per unit (logarithmically), red less and blue more.
    4. hours: the sun goes on about the vertical, 15 degrees per unit.

    Light, environment, fog and background follow it. The seed's code is of 3D-SDN's textural
    network, whose unit is nobody's; these were chosen so that 6 steps of 0.25, 1.5 units, are a
    change that one hour of a day brings.
    """

    box: tuple[float, float] | None = None

    def start(self, scenes: Scene) -> Float[Tensor, "batch 4"]:
        """Return zeros."""
        return torch.zeros_like(scenes.fog)

    def apply(self, scenes: Scene, value: Float[Tensor, "batch 4"]) -> Scene:
        """Change the light, the air and the sky."""
        haze, clouds, dusk, hours = value.unbind(1)
        fade = (-dusk[:, None] * value.new_tensor(DUSK)).exp()
        sun = _turned(scenes.light[:, :3], hours * (math.pi / 12))
        direct = scenes.light[:, 3:] * (-clouds / 2).exp()[:, None] * fade
        around = scenes.environment * ((clouds / 8).exp()[:, None] * fade)[:, None]
        added = scenes.fog[:, 0] * haze.expm1()
        fog = torch.cat(((scenes.fog[:, 0] + added)[:, None], scenes.fog[:, 1:] * fade), dim=1)
        sky = scenes.background
        veil = -(-added[:, None, None] * _through_fog(scenes)).expm1()
        sky = sky + veil[:, None] * (scenes.fog[:, 1:, None, None] - sky)
        grey = (clouds / 2).tanh()[:, None, None, None] / 2
        sky = (sky + grey * (sky.mean(1, keepdim=True) - sky)) * fade[..., None, None]
        return scenes.replace(
            light=torch.cat((sun, direct), dim=1), environment=around, fog=fog, background=sky
        )


@dataclass(frozen=True)
class Foliage:
    """Trees and the scenery about them: four numbers of each object, 0 as it was.

    Logarithms of factors: on the red, green and blue of trees, by a third on those of houses,
    pavements and gardens, and by half on the size of trees, which stay on their feet. The unit is
    ours, as that of `Weather`: 6 steps of 0.1 make a leaf 1.8 times as bright and a wall 1.2 times,
    and a tree 1.35 times as tall. By whole factors walls would turn turquoise.
    """

    box: tuple[float, float] | None = None

    def start(self, scenes: Scene) -> Float[Tensor, "batch object 4"]:
        """Return zeros."""
        return pad(torch.zeros_like(scenes.colour), (0, 1))

    def apply(self, scenes: Scene, value: Float[Tensor, "batch object 4"]) -> Scene:
        """Colour the scenery and let trees grow."""
        scenery = of_classes(scenes, numbers_of(("building", "pavement", "ground")))
        trees = of_classes(scenes, numbers_of(("tree",)))
        share = torch.where(trees, 1.0, scenery / 3).to(value)
        colour = scenes.colour * (value[..., :3] * share[..., None]).exp()
        scale = scenes.scale * (value[..., 3] / 2 * trees).exp()
        return scenes.replace(colour=colour, scale=scale)


def _turned(direction: Tensor, angle: Tensor) -> Tensor:
    """Turn directions about the vertical."""
    x, y, z = direction.unbind(1)
    cosine, sine = angle.cos(), angle.sin()
    return torch.stack((x * cosine + z * sine, y, z * cosine - x * sine), dim=1)


def _through_fog(scenes: Scene) -> Float[Tensor, "batch rows columns"]:
    """Metres of fog between the camera and what each pixel of the background shows; no gradient.

    As in `sky_image`; a background of one pixel is a wall, as far away as it looks.
    """
    height, width = scenes.background.shape[2:]
    camera = scenes.camera.detach()
    if (height, width) == (1, 1):
        return camera.new_zeros(len(camera), 1, 1)
    y, x = torch.meshgrid(
        torch.arange(height, device=camera.device, dtype=camera.dtype),
        torch.arange(width, device=camera.device, dtype=camera.dtype),
        indexing="ij",
    )
    y, x = y.reshape(-1), x.reshape(-1)
    rays = torch.stack([pixel_rays(f.expand(len(y)), y, x, height, width) for f in camera[:, 3]])
    level = (normalize(rays, dim=2) @ view_rotation(camera))[..., 1]
    eye = (camera[:, 0] * camera[:, 2].sin() + camera[:, 6]).clamp_min(0.1)[:, None]
    far = torch.where(level > 0, FOG_LAYER, eye) / level.abs().clamp_min(1e-6)
    return far.clamp_max(FARTHEST).view(-1, height, width)
