"""Sky, sun and environment: against scipy's harmonics, numerical integration, known sunrises."""

import math

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from guard.errors import BadInput
from offline.rendering.camera import view_rotation
from offline.rendering.rasterizer.lighting import spherical_harmonics
from offline.rendering.streets.daylight import WEATHERS, Daylight, daylight
from offline.rendering.streets.sky import air_mass, sky_image, sky_radiance


def at(hour: float, weather: str = "clear", heading: float = 0.0) -> Daylight:
    kind = WEATHERS[weather]
    return daylight(torch.tensor([hour]).double(), [kind], torch.tensor([heading]).double())


@pytest.mark.parametrize(
    ("degrees", "mass"), [(90, 0.99971), (30, 1.9939), (10, 5.5841), (5, 10.3164), (0, 37.9196)]
)
def test_air_masses_are_those_of_kasten_and_young(degrees: float, mass: float) -> None:
    sine = torch.tensor([math.sin(math.radians(degrees))]).double()
    assert float(air_mass(sine)) == pytest.approx(mass, rel=2e-3)


def test_harmonics_are_those_of_scipy() -> None:
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(50, 3, generator=generator).double())
    x, y, z = directions.numpy().T
    polar, azimuth = np.arccos(z), np.arctan2(y, x)

    def real(degree: int, order: int) -> np.ndarray:
        value = sph_harm_y(degree, abs(order), polar, azimuth)
        if order == 0:
            return value.real
        sign = math.sqrt(2) * (-1) ** order
        return sign * (value.imag if order < 0 else value.real)

    wanted = [real(n, m) for n in range(3) for m in range(-n, n + 1)]
    np.testing.assert_allclose(spherical_harmonics(directions).numpy().T, wanted, atol=1e-12)


@pytest.mark.parametrize("weather", list(WEATHERS))
@pytest.mark.parametrize("hour", [9.0, 18.2, 19.3])
def test_the_environment_is_the_integral_of_the_sky(hour: float, weather: str) -> None:
    day = at(hour, weather)
    draws = 200_000
    random = torch.rand(draws, 2, generator=torch.Generator().manual_seed(1)).double()
    up, angle = 2 * random[:, 0] - 1, 2 * math.pi * random[:, 1]
    flat = (1 - up.square()).sqrt()
    around = torch.stack((flat * angle.sin(), up, flat * angle.cos()), dim=1)
    radiance = sky_radiance(day.sky, around[None])[0]
    radiance = torch.where(up[:, None] > 0, radiance, day.sky.ground)
    wanted = spherical_harmonics(around).T @ radiance * (4 * math.pi / draws)
    scale = float(wanted.abs().max())
    assert float((day.environment[0] - wanted).abs().max()) < 0.025 * scale


def test_the_sun_is_where_astronomy_has_it() -> None:
    noon, dawn = at(12.0), at(12 - math.degrees(math.acos(-math.tan(math.radians(48))
                                                 * math.tan(math.radians(12)))) / 15)  # fmt: skip
    # Noon: 90° - latitude + declination, in the south, which is +z when -z is north.
    height = math.radians(90 - 48 + 12)
    wanted = torch.tensor([[0, math.sin(height), math.cos(height)]]).double()
    torch.testing.assert_close(noon.sky.sun, wanted, atol=1e-6, rtol=0)
    assert float(dawn.sky.sun[0, 1]) == pytest.approx(0, abs=1e-6)
    assert float(dawn.sky.sun[0, 0]) > 0.9  # east
    # A camera that looks along -z to the west has the south at its left.
    assert float(at(12.0, heading=-math.pi / 2).sky.sun[0, 0]) < -0.5
    torch.testing.assert_close(noon.sky.sun.norm(dim=1), torch.ones(1).double())


def test_low_sun_is_red_night_is_dark_and_lamps_take_over() -> None:
    noon, evening, night = at(12.0), at(18.5), at(23.5)
    assert float(evening.light[0, 3] / evening.light[0, 5]) > 3
    assert float(noon.light[0, 3] / noon.light[0, 5]) < 1.5
    assert night.light[0, 3:].tolist() == [0, 0, 0]
    assert 0 < float(night.environment[0, 0].mean()) < 0.1 * float(noon.environment[0, 0].mean())
    assert [float(day.darkness) > 0.5 for day in (noon, evening, night)] == [False, False, True]


def test_clouds_hide_the_sun_and_fog_is_as_dense_as_its_visibility() -> None:
    assert at(12.0, "overcast").light[0, 3:].tolist() == [0, 0, 0]
    density = float(at(12.0, "fog").fog[0, 0])
    assert math.exp(-density * WEATHERS["fog"].visibility) == pytest.approx(0.02, rel=1e-3)


@pytest.mark.parametrize("weather", ["hazy", "fog"])
def test_the_horizon_of_the_picture_has_the_colour_of_the_fog(weather: str) -> None:
    day = at(9.0, weather)
    camera = torch.tensor([[10.0, 0.0, 0.0, 0.8, 0.0, 0.0, 1.5, -10.0]]).double()
    image = sky_image(day.sky, camera, 64, 48)
    assert float(image.amax()) < 1
    horizon = image[0, :, 31:33].mean(dim=1)
    wanted = day.fog[0, 1:, None].expand_as(horizon)
    torch.testing.assert_close(horizon, wanted, atol=0.04, rtol=0)


def test_the_picture_shows_the_sun_where_the_light_comes_from() -> None:
    day = at(17.0)
    sun = day.sky.sun[0]
    azimuth = math.atan2(-float(sun[0]), -float(sun[2]))
    elevation = -math.asin(float(sun[1]))
    camera = torch.tensor([[1.0, azimuth, elevation, 0.5, 0.0, 0, 50, 0]]).double()
    image = sky_image(day.sky, camera, 65, 65)[0].sum(0)
    assert divmod(int(image.argmax()), 65) == (32, 32)
    torch.testing.assert_close(-view_rotation(camera)[0, 2], sun, atol=1e-6, rtol=0)


def test_light_is_differentiable_in_the_hour() -> None:
    hour = torch.tensor([8.0, 17.7, 19.2], dtype=torch.float64, requires_grad=True)
    kinds = [WEATHERS["clear"], WEATHERS["hazy"], WEATHERS["cloudy"]]
    camera = torch.tensor([[10.0, 0.2, 0.0, 0.8, 0.0, 0.0, 1.5, -10.0]] * 3).double()

    def lit(hours: torch.Tensor) -> tuple[torch.Tensor, ...]:
        day = daylight(hours, kinds)
        return (*day[:3], sky_image(day.sky, camera, 6, 5))

    assert torch.autograd.gradcheck(lit, (hour,), fast_mode=True)


def test_each_hour_wants_a_weather() -> None:
    with pytest.raises(BadInput, match="one weather for each hour is wanted: 1 for 2"):
        daylight(torch.zeros(2), [WEATHERS["clear"]])
