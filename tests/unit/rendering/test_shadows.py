"""Shadows against closed forms of projection, and what must not change."""

import dataclasses
import math

import pytest
import torch

from offline.rendering.composing import compose, single, uniform_environment
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.procedural import CLASSES
from offline.rendering.procedural.parts import assemble, ball
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.sampling import sample_scenes
from offline.rendering.scene import Scene

SIZE = 64
FIELD, DISTANCE = 0.8, 6.0


def square(half: float) -> Mesh:
    """A flat square in the plane y = 0."""
    corners = torch.tensor([(-half, 0, half), (half, 0, half), (half, 0, -half), (-half, 0, -half)])
    return Mesh("square", corners, torch.tensor([(0, 1, 2), (0, 2, 3)]), torch.full((2, 3), 0.8))


def table(light: list[float], lamps: list[list[float]]) -> Scene:
    """A square of side 1 / 2, turned, above a floor that fills the image, seen from above."""
    scene = compose([[square(0.25), square(5.0)]])
    row = scene.points.new_tensor
    return dataclasses.replace(
        scene,
        pose=row([[[0, 0.4, 0], [0, 0, 0]]]),
        translation=row([[[0, 1.0, 0], [0, 0, 0]]]),
        light=row([light]),
        lamps=row(lamps).view(1, -1, 6),
        environment=uniform_environment(row([[0.0, 0, 0]])),
        camera=row([[DISTANCE, 0, math.pi / 2, FIELD, 0, 0.5, 0, 0]]),
    )


@pytest.mark.parametrize(
    ("light", "lamps", "side"),
    [
        ([-1, 1, 0.3, 0.5, 0.5, 0.5], [], 0.5),
        ([-2, 2, -1, 0.5, 0.5, 0.5], [], 0.5),
        ([0, 1, 0, 0, 0, 0], [[-1, 2, 0, 2, 2, 2]], 1.0),
        ([0, 1, 0, 0, 0, 0], [[-1.5, 2.5, 0.4, 2, 2, 2]], 5 / 6),
    ],
    ids=["sun", "another sun", "lamp", "another lamp"],
)
def test_the_shadow_of_a_square_has_the_area_of_its_projection(
    light: list[float], lamps: list[list[float]], side: float, device: torch.device
) -> None:
    scene = table(light, lamps).to(device)
    dark = Rasterizer(SIZE, SIZE, shadows=True).render(scene)
    bright = Rasterizer(SIZE, SIZE).render(scene)
    assert float(bright.amin()) > 0
    assert float(bright.amax()) < 1
    pixels_a_unit = SIZE / 2 / math.tan(FIELD / 2) / DISTANCE
    area = float((1 - dark / bright).mean(1).sum())
    assert area == pytest.approx((side * pixels_a_unit) ** 2, rel=0.01)


def test_two_lights_cast_two_shadows(device: torch.device) -> None:
    """Where one light is kept off, the other's share is left."""
    sun, lamp = [-1, 1, 0.3, 0.2, 0.2, 0.2], [1, 2, 0, 1.0, 1, 1]
    renderer = Rasterizer(SIZE, SIZE, shadows=True)
    both = renderer.render(table(sun, [lamp]).to(device))
    one = renderer.render(table(sun, [[*lamp[:3], 0, 0, 0]]).to(device))
    other = renderer.render(table([*sun[:3], 0, 0, 0], [lamp]).to(device))
    torch.testing.assert_close(both, one + other, atol=1e-3, rtol=0)


def test_a_light_that_is_off_casts_no_shadow(device: torch.device) -> None:
    scene = table([-1, 1, 0.3, 0, 0, 0], [[-1, 2, 0, 0, 0, 0]]).to(device)
    scene = scene.replace(environment=uniform_environment(torch.full((1, 3), 0.5, device=device)))
    with_shadows = Rasterizer(SIZE, SIZE, shadows=True).render(scene)
    assert torch.equal(with_shadows, Rasterizer(SIZE, SIZE).render(scene))


@pytest.mark.parametrize("size", [0.01, 1.0, 300.0])
def test_a_convex_body_has_no_shadow_of_its_own(size: float, device: torch.device) -> None:
    """Nor specks of one where the light grazes it, whatever the unit of length."""
    scene = single([assemble("ball", [ball((1, 0.8, 0.6), (0.7, 0.7, 0.7), 24, 40)])])[[0] * 6]
    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(6, 3, generator=generator)
    camera = scene.camera * torch.tensor([max(size, 0.05), 1, 1, 1, 1, 1, 1, 1])
    scene = scene.replace(
        scale=scene.scale * size,
        light=torch.cat((direction, torch.full((6, 3), 0.6)), dim=1),
        pose=torch.randn(6, 1, 3, generator=generator),
        camera=camera,
    ).to(device)
    with_shadows = Rasterizer(SIZE, SIZE, shadows=True).render(scene)
    torch.testing.assert_close(with_shadows, Rasterizer(SIZE, SIZE).render(scene))


def test_images_and_gradients_are_the_same_bits_twice_and_in_any_batch(
    device: torch.device,
) -> None:
    labels = torch.arange(len(CLASSES))
    scene = sample_scenes(labels, torch.Generator().manual_seed(2), 48).to(device)
    renderer = Rasterizer(48, 48, shadows=True)

    def rendered() -> tuple[torch.Tensor, ...]:
        names = ("pose", "translation", "scale", "vertices", "light", "camera")
        theta = {name: scene.parameters()[name].clone().requires_grad_() for name in names}
        image = renderer.render(scene.replace(**theta))
        return image, *torch.autograd.grad((image**2).sum(), list(theta.values()))

    for first, second in zip(rendered(), rendered(), strict=True):
        assert torch.equal(first, second)
        assert first.isfinite().all()
    alone = torch.cat([renderer.render(scene[i]) for i in range(len(scene))])
    torch.testing.assert_close(alone, renderer.render(scene), atol=1e-6, rtol=0)
    assert (alone < Rasterizer(48, 48).render(scene) - 0.05).flatten(1).any(1).sum() >= 8
