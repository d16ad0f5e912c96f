"""Light that falls on a surface, and what the surface and the air make of it on the way to the eye.

All directions of one call are in the same axes and point away from the surface.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

__all__ = [
    "NEAREST_LAMP",
    "REFLECTED",
    "SHININESS",
    "blinn_phong",
    "environment_light",
    "lambert",
    "lamp_light",
    "spherical_harmonics",
    "through_fog",
]

SHININESS = 32.0
NEAREST_LAMP = 0.01
"""No surface is lit as if it were nearer to a lamp than this, where the inverse square explodes."""
REFLECTED = (1.0, *[2 / 3] * 3, *[1 / 4] * 5)
"""Share of each spherical harmonic of the radiance that a Lambertian surface keeps."""


def lambert(
    normal: Float[Tensor, "place 3"], towards: Float[Tensor, "place 3"]
) -> Float[Tensor, "place 1"]:
    """Return max(n · l, 0): the share of the light from l that a matt surface gets and reflects."""
    return _dot(normal, towards).relu()


def blinn_phong(
    normal: Float[Tensor, "place 3"],
    towards: Float[Tensor, "place 3"],
    view: Float[Tensor, "place 3"],
) -> Float[Tensor, "place 1"]:
    """Return max(n · h, 0)^32 with h = (l + v) / |l + v|, and 0 where the light is behind."""
    mirror = _dot(normal, normalize(towards + view, dim=1)).relu() ** SHININESS
    return mirror * (_dot(normal, towards) > 0)


def lamp_light(
    place: Float[Tensor, "place 3"], lamp: Float[Tensor, "place 6"]
) -> tuple[Float[Tensor, "place 3"], Float[Tensor, "place 3"]]:
    """Return the unit direction towards a lamp and the RGB that arrives: lamp / distance².

    `lamp` is its place, in the axes of `place`, and its RGB at distance 1.
    """
    away = lamp[:, :3] - place
    square = away.square().sum(1, keepdim=True)
    return normalize(away, dim=1), lamp[:, 3:] / square.clamp_min(NEAREST_LAMP**2)


def environment_light(
    normal: Float[Tensor, "place 3"], coefficients: Float[Tensor, "place 9 3"]
) -> Float[Tensor, "place 3"]:
    """Return what a white matt surface reflects of light from all around: Σ a_i L_i Y_i(n).

    `coefficients` L are as `Scene.environment`, in the axes of `normal`. The cosine falls off so
    fast in spherical harmonics, a = (1, 2/3, 1/4) for orders 0, 1, 2, that these nine hold all but
    about a hundredth of what arrives: Ramamoorthi & Hanrahan, "An Efficient Representation for
    Irradiance Environment Maps" (2001), whose A_l are these times π, as their L is radiance.
    """
    kept = normal.new_tensor(REFLECTED) * spherical_harmonics(normal)
    return (kept[:, :, None] * coefficients).sum(1)


def spherical_harmonics(direction: Float[Tensor, "place 3"]) -> Float[Tensor, "place 9"]:
    """Return Y00, Y1-1, Y10, Y11, Y2-2, Y2-1, Y20, Y21, Y22 (real) of unit vectors (x, y, z)."""
    x, y, z = direction.unbind(1)
    constant = torch.full_like(x, math.sqrt(1 / (4 * math.pi)))
    linear, square = math.sqrt(3 / (4 * math.pi)), math.sqrt(15 / (4 * math.pi))
    zonal = math.sqrt(5 / (16 * math.pi)) * (3 * z * z - 1)
    return torch.stack(
        (
            constant, linear * y, linear * z, linear * x,
            square * x * y, square * y * z, zonal, square * x * z, square / 2 * (x * x - y * y),
        ),
        dim=1,
    )  # fmt: skip


def through_fog(
    colours: Float[Tensor, "place 3"],
    distance: Float[Tensor, "place 1"],
    fog: Float[Tensor, "place 4"],
) -> Float[Tensor, "place 3"]:
    """Return colour · t + fog · (1 - t) with t = exp(-density · distance); `fog` as `Scene.fog`."""
    density, haze = fog.split([1, 3], dim=1)
    seen: Tensor = haze + (colours - haze) * (-density * distance).exp()
    return seen


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=1, keepdim=True)
