"""The sky: its radiance in every direction, and the picture of it behind a scene.

Sunlight scattered once in a plane-parallel atmosphere of air and aerosol has a closed form
(Chandrasekhar, "Radiative Transfer", 1950, for the homogeneous slab): towards an air mass m, with
the sun at the air mass m0, through the optical depth τ,

    L = E0 / 4π · P(γ) · m · (exp(-τ m) - exp(-τ m0)) / (m0 - m)

with P the phase function at the angle γ from the sun: Rayleigh's for the air, that of Henyey and
Greenstein for the aerosol. Light scattered more often is taken as a geometric series. τ of air
after Hansen and Travis (1974), absorption by ozone after Bogumil et al. (2003), air masses after
Kasten and Young (1989), overcast parts after Moon and Spencer's sky (CIE, 1955). Everything is
differentiable in the sun's direction and in the weather.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from offline.rendering.camera import pixel_rays, view_rotation

__all__ = ["AIR", "OZONE", "Sky", "air_mass", "sky_image", "sky_radiance", "sunlight_through_air"]

AIR = (0.0490, 0.0973, 0.2206)
"""Optical depth of air straight up at 650, 550 and 450 nm: red, green and blue."""
OZONE = (0.0202, 0.0274, 0.0014)
"""Optical depth of 300 Dobson units of ozone, which is what keeps the sky of an evening blue."""
FORWARD = 0.65  # asymmetry of Henyey and Greenstein for continental aerosol
SUN_RADIUS = 0.0047  # radians
FOG_LAYER = 60.0  # metres of fog above the ground; the sky above is seen through it


class Sky(NamedTuple):
    """What the sky of each scene is made of; `daylight` fills it in.

    Radiance is in the units of `Scene`: in a sky of radiance 1 everywhere a white surface is 1.
    """

    sun: Float[Tensor, "batch 3"]
    """Direction towards the sun, of length 1; it may be below the horizon."""
    sunlight: Float[Tensor, "batch 1"]
    """What a white surface that faces the sun would reflect without an atmosphere."""
    aerosol: Float[Tensor, "batch 1"]
    """Optical depth of dust and droplets straight up: 0.05 is very clear, 0.5 hazy."""
    overcast: Float[Tensor, "batch 3"]
    """Radiance straight up of the clouds."""
    clouds: Float[Tensor, "batch 1"]
    """Share of the sky that they cover, in [0, 1]."""
    night: Float[Tensor, "batch 3"]
    """Radiance that is there without a sun: the glow of a town."""
    ground: Float[Tensor, "batch 3"]
    """Radiance of the ground."""
    fog: Float[Tensor, "batch 4"]
    """Density and colour as in `Scene`."""


def sky_radiance(
    sky: Sky, directions: Float[Tensor, "batch point 3"]
) -> Float[Tensor, "batch point 3"]:
    """Return the sky's radiance, without fog and the sun itself, in directions of length 1.

    Directions below the horizon are answered as if they were level.
    """
    height = directions[..., 1:2].clamp(0, 1)
    cosine = (directions * sky.sun[:, None]).sum(2, keepdim=True).clamp(-1, 1)
    air = directions.new_tensor(AIR)
    aerosol = sky.aerosol[:, None]
    depth = air + aerosol
    there, here = air_mass(sky.sun[:, None, 1:2]), air_mass(height)
    rayleigh = 0.75 * (1 + cosine.square())
    forward = (1 - FORWARD**2) / (1 + FORWARD**2 - 2 * FORWARD * cosine) ** 1.5
    phase = (air * rayleigh + aerosol * forward) / depth
    # (exp(-a) - exp(-b)) / (b - a) by the mean of a and b, which is finite where they are equal
    middle, half = depth * (there + here) / 2, depth * (there - here) / 2
    once = (-middle).exp() * _sinhc(half) * depth * here * phase / 4
    often = air * 4 + aerosol * 0.4  # aerosol throws most of its light forward
    absorbed = (-directions.new_tensor(OZONE) * there.clamp_max(12)).exp()
    clear = sky.sunlight[:, None] * absorbed * once * often.exp()
    grey = sky.overcast[:, None] * (1 + 2 * height) / 3
    share = sky.clouds[:, None]
    return clear * (1 - share) + grey * share + sky.night[:, None] * (1 - 0.6 * height)


def sky_image(
    sky: Sky, camera: Float[Tensor, "batch 8"], height: int, width: int
) -> Float[Tensor, "batch 3 height width"]:
    """Return the background that a camera sees: sky with the sun, and ground to the horizon.

    Fog lies over both and hides the horizon, so that what is far away fades into the picture. It is
    radiance up to 1/2; above, it is compressed to stay below 1, so that the sky about the sun does
    not become a white patch.
    """
    y, x = torch.meshgrid(
        torch.arange(height, device=camera.device, dtype=camera.dtype),
        torch.arange(width, device=camera.device, dtype=camera.dtype),
        indexing="ij",
    )
    y, x = y.reshape(-1), x.reshape(-1)
    rays = [pixel_rays(each.expand(len(y)), y, x, height, width) for each in camera[:, 3]]
    directions = torch.nn.functional.normalize(torch.stack(rays), dim=2) @ view_rotation(camera)
    level = directions[..., 1:2]
    away = torch.linalg.vector_norm(directions - sky.sun[:, None], dim=2, keepdim=True)
    disc = ((1.3 * SUN_RADIUS - away) / (0.6 * SUN_RADIUS)).clamp(0, 1) * (1 - sky.clouds[:, None])
    above = sky_radiance(sky, directions) + disc * sunlight_through_air(sky)[:, None]
    # The border is as wide as a pixel, so that a level horizon has no steps.
    pixel = 2 * (camera[:, 3, None, None] / 2).tan() / height
    seen = above.lerp(sky.ground[:, None].expand_as(above), (0.5 - level / pixel).clamp(0, 1))
    eye = (camera[:, 0] * camera[:, 2].sin() + camera[:, 6]).clamp_min(0.1)[:, None, None]
    distance = torch.where(level > 0, FOG_LAYER, eye) / level.abs().clamp_min(1e-6)
    clear = (-sky.fog[:, None, :1] * distance).exp()
    hazy = sky.fog[:, None, 1:] + clear * (seen - sky.fog[:, None, 1:])
    bright = 1 - 0.5 * (1 - 2 * hazy.clamp_min(0.5)).exp()
    picture = torch.where(hazy < 0.5, hazy, bright)
    return picture.mT.reshape(len(camera), 3, height, width)


def air_mass(sine: Float[Tensor, "*item"]) -> Float[Tensor, "*item"]:
    """Return how much more air there is than straight up, by the sine of the elevation.

    1 to 38; from the horizon down it stays that of the horizon.
    """
    sine = sine.clamp(0, 1)
    degrees = torch.rad2deg(sine.clamp_max(1 - 1e-6).asin())
    return 1 / (sine + 0.50572 * (degrees + 6.07995) ** -1.6364)


def sunlight_through_air(sky: Sky) -> Float[Tensor, "batch 3"]:
    """Return what is left of the sunlight, before clouds and fog."""
    depth = sky.aerosol + sky.sun.new_tensor(AIR)
    there = air_mass(sky.sun[:, 1:2])
    ozone = sky.sun.new_tensor(OZONE) * there.clamp_max(12)
    return sky.sunlight * (-depth * there - ozone).exp()


def _sinhc(x: Tensor) -> Tensor:
    """Return sinh(x) / x, its series where x is small."""
    small = x.abs() < 1e-3
    safe = torch.where(small, 1, x)
    return torch.where(small, 1 + x.square() / 6, safe.sinh() / safe)
