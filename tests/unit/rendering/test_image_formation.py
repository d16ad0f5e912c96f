"""The camera's curve, exposure, fall-off and noise: against known values and closed forms."""

import math

import pytest
import torch
from pydantic import ValidationError

from guard.errors import BadInput
from offline.rendering.composing import single
from offline.rendering.image_formation import ImageFormation, Photographed, srgb
from offline.rendering.procedural import procedural_mesh
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.renderer import Renderer
from offline.rendering.scene import Scene, concatenate


def empty(value: float, device: torch.device | str = "cpu") -> Scene:
    """A scene that shows its background alone."""
    mesh = procedural_mesh("car", torch.Generator().manual_seed(0))
    scene = single([mesh], background=(value, value, value))
    return scene.replace(translation=torch.full((1, 1, 3), 99.0)).to(device)


def test_the_curve_of_srgb_has_its_known_values(device: torch.device) -> None:
    # 18% grey is 118 of 255; 0.5 is 188; the linear part ends at 0.0031308 with 0.04045.
    light = torch.tensor([0.0, 0.0031308, 0.18, 0.2140411, 0.5, 1.0], device=device)
    wanted = torch.tensor([0.0, 0.0404499, 0.4613561, 0.5, 0.7353570, 1.0], device=device)
    torch.testing.assert_close(srgb(light), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (ImageFormation(curve="linear"), 0.2),
        (ImageFormation(curve="linear", exposure=1.5), 0.2 * 2**1.5),
        (ImageFormation(curve="linear", exposure=3), 1.0),
        (ImageFormation(curve="gamma", gamma=2.0), math.sqrt(0.2)),
        (ImageFormation(exposure=-1), 1.055 * 0.1 ** (1 / 2.4) - 0.055),
    ],
)
def test_exposure_and_curve(settings: ImageFormation, wanted: float, device: torch.device) -> None:
    camera = Photographed(Rasterizer(8, 8, 1), settings)
    assert isinstance(camera, Renderer)
    image = camera.render(empty(0.2, device))
    torch.testing.assert_close(image, torch.full_like(image, wanted))


def test_noise_has_the_variance_of_electrons(device: torch.device) -> None:
    settings = ImageFormation(curve="linear", full_well=500, read_noise=6)
    image = Photographed(Rasterizer(200, 200, 1), settings, seed=3).radiance(empty(0.4, device))
    # Shot noise: 200 electrons of 500; the deviation of a variance of n draws is √(2 / n) of it.
    assert float(image.mean()) == pytest.approx(0.4, abs=4 * 0.031 / math.sqrt(120_000))
    assert float(image.var()) == pytest.approx((200 + 36) / 500**2, rel=0.02)


def test_the_same_scenes_have_the_same_noise_and_neighbours_another() -> None:
    scenes = concatenate([empty(0.5), empty(0.5)])
    camera = Photographed(Rasterizer(16, 16, 1), ImageFormation(full_well=100), seed=5)
    images = camera.render(scenes)
    assert torch.equal(images, camera.render(scenes))
    assert torch.equal(images[0], camera.render(scenes[:1])[0])
    assert not torch.equal(images[0], images[1])
    # Image 1 of seed 5 is image 0 of seed 6, so a long set can be rendered in parts.
    later = Photographed(Rasterizer(16, 16, 1), ImageFormation(full_well=100), seed=6)
    assert torch.equal(images[1], later.render(scenes[:1])[0])


def test_the_corners_of_a_wide_lens_are_darker_by_the_fourth_power_of_the_cosine() -> None:
    scene = empty(0.8)
    field = 1.2
    scene = scene.replace(camera=torch.tensor([[3.5, 0, 0, field, 0, 0, 0, 0]]))
    settings = ImageFormation(curve="linear", vignetting=1)
    image = Photographed(Rasterizer(31, 31, 1), settings).render(scene)[0, 0]
    angle = math.atan(math.sqrt(2) * 30 / 31 * math.tan(field / 2))
    assert float(image[15, 15]) == pytest.approx(0.8)
    assert float(image[0, 30]) == pytest.approx(0.8 * math.cos(angle) ** 4, rel=1e-5)


@pytest.mark.parametrize("curve", ["srgb", "gamma", "linear"])
def test_gradients_go_through_the_camera(curve: str) -> None:
    settings = ImageFormation.model_validate(
        {"curve": curve, "exposure": 0.5, "full_well": 900, "vignetting": 0.5}
    )
    camera = Photographed(Rasterizer(4, 5, 1), settings, seed=1)
    scene = empty(0.3).double()
    sky = torch.linspace(0.1, 0.6, 60).double().view(1, 3, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: camera.render(scene.replace(background=x)), (sky,), fast_mode=True
    )


def test_coverage_is_that_of_the_renderer_within() -> None:
    mesh = procedural_mesh("bus", torch.Generator().manual_seed(1))
    scene, inner = single([mesh]), Rasterizer(20, 20, 1)
    assert torch.equal(Photographed(inner).coverage(scene), inner.coverage(scene))


def test_what_no_camera_has_is_refused() -> None:
    with pytest.raises(BadInput, match="at least 0 is wanted, not -1"):
        Photographed(Rasterizer(8, 8), seed=-1)
    with pytest.raises(ValidationError, match="exposure"):
        ImageFormation(exposure=99)
