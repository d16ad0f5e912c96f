"""Time of day and weather: from the hour to the sun, the light from all around, and fog."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from guard.errors import BadInput
from guard.settings import Settings
from offline.rendering.rasterizer.lighting import spherical_harmonics
from offline.rendering.streets.sky import Sky, sky_radiance, sunlight_through_air

__all__ = ["ALBEDO", "WEATHERS", "Daylight", "Weather", "WeatherName", "daylight"]


class Weather(Settings):
    """The state of the air.

    Attributes:
        clouds: share of the sky that they cover.
        aerosol: optical depth of dust and droplets straight up.
        visibility: metres at which a dark thing keeps 2% of its contrast (Koschmieder, 1924).
    """

    clouds: float = Field(0.0, ge=0, le=1)
    aerosol: float = Field(0.08, ge=0.01, le=2)
    visibility: float = Field(20_000.0, ge=5)


WeatherName = Literal["clear", "hazy", "cloudy", "overcast", "fog"]
WEATHERS: dict[WeatherName, Weather] = dict(
    zip(
        get_args(WeatherName),
        (
            Weather(),
            Weather(clouds=0.1, aerosol=0.35, visibility=700),
            Weather(clouds=0.6, aerosol=0.12, visibility=6000),
            Weather(clouds=1, aerosol=0.15, visibility=2500),
            Weather(clouds=1, aerosol=0.3, visibility=90),
        ),
        strict=True,
    )
)


class Daylight(NamedTuple):
    """The light of each scene at its hour, in the units of `Scene`."""

    light: Float[Tensor, "batch 6"]
    """The sun; below the horizon it gives none."""
    environment: Float[Tensor, "batch 9 3"]
    fog: Float[Tensor, "batch 4"]
    sky: Sky
    """For `sky_image`."""
    darkness: Float[Tensor, " batch"]
    """How much street lamps are on: 0 by day, 1 by night."""


LATITUDE, DECLINATION = math.radians(48), math.radians(12)  # late April in central Europe
SUN = 1.2  # outside of the air; a white wall in the sun of noon is about 1
TOWN = (0.0006, 0.0008, 0.0014)  # radiance of a town's sky by night
ALBEDO = (0.15, 0.155, 0.12)  # of the ground far around
KEY, DARKEST = 0.9, 0.006  # light that a camera does not brighten, and the least it adapts to
ADAPTATION = 0.7


def daylight(
    hour: Float[Tensor, " batch"],
    weather: Sequence[Weather],
    heading: Float[Tensor, " batch"] | None = None,
) -> Daylight:
    """Return light, sky and fog of each scene at its hour in [0, 24], solar time.

    The sun: sin h = sin φ sin δ + cos φ cos δ cos(15° (hour - 12)). The environment is the sky's
    radiance, and the ground's, projected by a product quadrature (Gauss in height), so light and
    picture agree. Clouds leave a quarter of the light (Kasten and Czeplak, 1980). The camera
    adapts: all light is multiplied by (0.9 / level)^0.7, where level is what a surface gets that
    the sun meets at 60°. Differentiable in hour and heading.

    Args:
        hour: 12 is noon.
        weather: of each scene.
        heading: where -z points, in radians clockwise from north; north where it is left out.

    Raises:
        BadInput: there is not one weather for each hour.
    """
    if len(weather) != len(hour):
        raise BadInput(f"one weather for each hour is wanted: {len(weather)} for {len(hour)}")
    heading = torch.zeros_like(hour) if heading is None else heading
    air = hour.new_tensor([(w.clouds, w.aerosol, 3.912 / w.visibility) for w in weather])
    clouds, aerosol, density = air.split(1, dim=1)
    sun = _sun(hour, heading)
    degrees = torch.rad2deg(sun[:, 1:2].asin())
    dark = torch.zeros_like(sun)
    # In twilight light falls about tenfold in three degrees.
    sunlight = SUN * (0.75 * degrees.clamp_max(0)).exp()
    fogless = torch.zeros_like(air[:, :1]).expand(-1, 4)
    sky = Sky(sun, sunlight, aerosol, dark, torch.zeros_like(clouds), dark, dark, fogless)

    directions, weights = _hemisphere(hour)
    cosine = (weights * directions[:, 1] / math.pi)[:, None]
    clear = sky_radiance(sky, directions.expand(len(hour), -1, -1))
    direct = sunlight_through_air(sky) * (degrees / 0.6 + 0.5).clamp(0, 1)
    falling = direct * sun[:, 1:2].relu() + (clear * cosine).sum(1)
    # Moon and Spencer's sky gives 7/9 of what one as bright as its zenith all over would.
    # Between clouds they are lit from the side as well, and brighter.
    share = (0.25 + 0.5 * (1 - clouds)) * 9 / 7
    zenith = falling.mean(1, keepdim=True) * hour.new_tensor((0.97, 1.0, 1.04)) * share
    sky = sky._replace(overcast=zenith, clouds=clouds, night=hour.new_tensor(TOWN).expand_as(sun))
    direct = direct * (1 - clouds)

    radiance = sky_radiance(sky, directions.expand(len(hour), -1, -1))
    diffuse = (radiance * cosine).sum(1)
    level = (0.5 * direct + diffuse).mean(1, keepdim=True)
    gain = (KEY / level.clamp_min(DARKEST)) ** ADAPTATION
    ground = (direct * sun[:, 1:2].relu() + diffuse) * hour.new_tensor(ALBEDO)
    # What the air of the horizon looks like; under clouds it is lit from above.
    horizon = radiance.unflatten(1, (-1, AROUND))[:, 0].mean(1)
    fog = horizon.lerp(0.8 * diffuse, clouds)
    basis = spherical_harmonics(torch.cat((directions, directions * _MIRROR.to(directions))))
    around = torch.cat((radiance, ground[:, None].expand_as(radiance)), dim=1)
    environment = (around[:, :, None] * (basis * weights.repeat(2)[:, None])[..., None]).sum(1)
    fog = torch.cat((density, gain * fog), dim=1)
    scaled = sky._replace(
        sunlight=sunlight * gain,
        overcast=sky.overcast * gain,
        night=sky.night * gain,
        ground=ground * gain,
        fog=fog,
    )
    darkness = torch.sigmoid((-2.0 - degrees[:, 0]) * 1.5)
    light = torch.cat((sun, direct * gain), dim=1)
    return Daylight(light, environment * gain[:, None], fog, scaled, darkness)


AROUND, UPWARDS = 48, 16  # points of the quadrature along the horizon and up to the zenith
_MIRROR = torch.tensor((1.0, -1.0, 1.0))


def _sun(hour: Tensor, heading: Tensor) -> Tensor:
    """Return the direction towards the sun, in the world's axes."""
    angle = (hour - 12) * (math.pi / 12)
    sine, cosine = math.sin(LATITUDE), math.cos(LATITUDE)
    up, side = math.sin(DECLINATION), math.cos(DECLINATION)
    west = side * angle.sin()
    height = sine * up + cosine * side * angle.cos()
    south = sine * side * angle.cos() - cosine * up
    # With -z to the north x is the east; a heading turns the world under the sun.
    x = south * heading.sin() - west * heading.cos()
    z = south * heading.cos() + west * heading.sin()
    return torch.stack((x, height, z), dim=1)


def _hemisphere(like: Tensor) -> tuple[Tensor, Tensor]:
    """Return directions [point, 3] of the upper half, from the horizon up, and solid angles."""
    nodes, weights = np.polynomial.legendre.leggauss(UPWARDS)
    height = like.new_tensor((nodes + 1) / 2)[:, None].expand(-1, AROUND)
    azimuth = torch.arange(AROUND).to(like) * (2 * math.pi / AROUND)
    flat = (1 - height.square()).sqrt()
    directions = torch.stack((flat * azimuth.sin(), height, flat * azimuth.cos()), dim=2)
    solid = like.new_tensor(weights / 2 * (2 * math.pi / AROUND))[:, None].expand(-1, AROUND)
    return directions.reshape(-1, 3), solid.reshape(-1)
