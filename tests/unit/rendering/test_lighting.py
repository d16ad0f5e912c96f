"""Lamps, light from all around and fog, against closed forms and integrals over the sphere."""

import math

import numpy as np
import pytest
import torch
from numpy.polynomial.legendre import leggauss
from rich_scenes import rich_scene

from offline.rendering.camera import to_camera, to_screen, to_world
from offline.rendering.composing import single, uniform_environment
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.rasterizer.fragments import Fragments, fragments
from offline.rendering.rasterizer.lighting import (
    blinn_phong,
    environment_light,
    lamp_light,
    spherical_harmonics,
    through_fog,
)
from offline.rendering.rasterizer.shading import shade
from offline.rendering.rasterizer.visibility import visible_faces
from offline.rendering.scene import Scene


def sphere() -> tuple[torch.Tensor, torch.Tensor]:
    """Directions and weights of a quadrature that is exact for polynomials up to degree 60."""
    nodes, weights = leggauss(40)
    turns = np.arange(80) * 2 * np.pi / 80
    height, turn = np.meshgrid(nodes, turns, indexing="ij")
    radius = np.sqrt(1 - height**2)
    points = np.stack((radius * np.cos(turn), radius * np.sin(turn), height), axis=-1)
    area = np.repeat(weights, 80) * 2 * np.pi / 80
    return torch.from_numpy(points.reshape(-1, 3)), torch.from_numpy(area)


def sheet_scene(lamps: torch.Tensor) -> Scene:
    """A grey square of half side 0.5 in the plane z = 0, seen face on, in the light of lamps."""
    corners = [(-0.5, -0.5, 0), (0.5, -0.5, 0), (0.5, 0.5, 0), (-0.5, 0.5, 0)]
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    mesh = Mesh("sheet", torch.tensor(corners).float(), faces, torch.full((2, 3), 0.5))
    scene = single([mesh], camera=(3.0, 0, 0, 0.6), light=(0, 0, 1, 0), ambient=0)
    return Scene(**{**scene.tensors(), "lamps": lamps[None]})


def test_harmonics_are_orthonormal() -> None:
    directions, area = sphere()
    basis = spherical_harmonics(directions)
    torch.testing.assert_close((basis * area[:, None]).T @ basis, torch.eye(9).double())


@pytest.mark.parametrize("degree", [0, 1, 2, 6])
def test_reflected_light_is_the_integral_over_the_hemisphere(degree: int) -> None:
    """Of a radiance that is a random polynomial of a degree; beyond 2, to within a few per cent."""
    generator = torch.Generator().manual_seed(degree)
    directions, area = sphere()
    axes = torch.randn(max(degree, 1), 3, generator=generator).double()
    radiance = 1 + (directions @ axes.T / axes.norm(dim=1)).prod(1) * (degree > 0)
    coefficients = (spherical_harmonics(directions) * (area * radiance)[:, None]).sum(0)
    normals = torch.randn(20, 3, generator=generator).double()
    normals = normals / normals.norm(dim=1, keepdim=True)
    cosine = (normals @ directions.T).relu()
    wanted = cosine @ (area * radiance) / math.pi
    held = coefficients[None, :, None].expand(20, 9, 3)
    found = environment_light(normals, held)
    # The quadrature sees the kink of the cosine to about 1e-3.
    tolerance = 2e-3 if degree <= 2 else 0.03
    torch.testing.assert_close(found[:, 1], wanted, atol=tolerance, rtol=0)


def test_uniform_light_is_reflected_as_it_is() -> None:
    colour = torch.tensor([[0.2, 0.5, 0.9]])
    normal = torch.tensor([[0.6, 0.0, 0.8]])
    torch.testing.assert_close(environment_light(normal, uniform_environment(colour)), colour)


def test_the_environment_is_fixed_to_the_world_not_to_the_camera(device: torch.device) -> None:
    """Light from above only brightens what faces up, wherever the camera is."""
    corners = [(-1.0, 0, -1), (-1, 0, 1), (1, 0, 1), (1, 0, -1)]
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    floor = Mesh("floor", torch.tensor(corners).float(), faces, torch.ones(2, 3))
    for azimuth, roll in ((0.0, 0.0), (2.0, 0.5)):
        scene = single([floor], camera=(3.0, azimuth, 0.8, 0.6), light=(0, 1, 0, 0), ambient=0)
        camera, environment = scene.camera.clone(), torch.zeros(1, 9, 3)
        camera[:, 4], environment[:, 1] = roll, 0.3
        image = Rasterizer(9, 9).render(
            scene.replace(camera=camera, environment=environment).to(device)
        )
        wanted = 2 / 3 * 0.3 * math.sqrt(3 / (4 * math.pi))
        torch.testing.assert_close(image[0, :, 4, 4].cpu(), torch.full((3,), wanted))


@pytest.mark.parametrize("height", [0.3, 0.5, 1.0, 2.0])
def test_a_lamp_falls_off_with_the_square_of_its_distance(
    height: float, device: torch.device
) -> None:
    aside = 0.4
    scene = sheet_scene(torch.tensor([[aside, 0.0, height, 0.3, 0.2, 0.1]])).to(device)
    image = Rasterizer(33, 33, samples=1).radiance(scene)[0]
    square = height**2 + aside**2
    wanted = 0.5 * torch.tensor([0.3, 0.2, 0.1]) / square * height / math.sqrt(square)
    torch.testing.assert_close(image[:, 16, 16].cpu(), wanted)


def test_a_lamp_behind_a_surface_and_one_on_it_are_finite(device: torch.device) -> None:
    behind = sheet_scene(torch.tensor([[0.0, 0.0, -1.0, 5, 5, 5]])).to(device)
    assert float(Rasterizer(9, 9).radiance(behind)[0, :, 4, 4].amax()) == 0
    place = torch.zeros(1, 3, requires_grad=True)
    towards, light = lamp_light(place, torch.tensor([[0.0, 0, 0, 1, 1, 1]]))
    (gradient,) = torch.autograd.grad((towards * light).sum(), place)
    assert light.isfinite().all()
    assert gradient.isfinite().all()


def test_a_highlight_is_where_the_surface_mirrors_the_light() -> None:
    normal = torch.tensor([[0.0, 0, 1]])
    for angle in (0.0, 0.3, 0.7):
        towards = torch.tensor([[math.sin(0.5), 0, math.cos(0.5)]])
        view = torch.tensor([[-math.sin(0.5 + angle), 0, math.cos(0.5 + angle)]])
        found = float(blinn_phong(normal, towards, view))
        assert found == pytest.approx(math.cos(angle / 2) ** 32, rel=1e-4)
    assert float(blinn_phong(normal, -normal, normal)) == 0


@pytest.mark.parametrize("density", [0.0, 0.2, 3.0])
def test_fog_takes_the_place_of_colour_by_distance(density: float, device: torch.device) -> None:
    scene = sheet_scene(torch.tensor([[0.0, 0.0, 1.0, 1, 1, 1]]))
    fog = torch.tensor([[density, 0.7, 0.6, 0.5]])
    image = Rasterizer(33, 33, samples=1).render(scene.replace(fog=fog).to(device))[0].cpu()
    kept = math.exp(-density * 3)
    torch.testing.assert_close(image[:, 16, 16], 0.5 * kept + fog[0, 1:] * (1 - kept))
    assert image[:, 0, 0].tolist() == [1, 1, 1]  # the background has none


def test_fog_of_no_density_has_its_gradient() -> None:
    fog = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    colour, distance = torch.tensor([[0.3, 0.5, 0.7]]).double(), torch.tensor([[2.0]]).double()
    assert torch.autograd.gradcheck(lambda value: through_fog(colour, distance, value), fog)


def seen_in(scene: Scene, size: int) -> Fragments:
    positions = to_camera(to_world(scene), scene.camera)
    screen = to_screen(positions, scene.camera[:, 3], size, size)
    return fragments(scene, positions, visible_faces(screen, scene.faces, size, size)[0])


def test_each_light_is_dimmed_by_its_own_share(device: torch.device) -> None:
    """What two lamps and the light at infinity add is what each adds alone."""
    scene = rich_scene(0).double().to(device)
    scene = scene.replace(fog=torch.zeros_like(scene.fog))
    seen = seen_in(scene, 32)
    shares = torch.eye(3, dtype=torch.float64, device=device)[:, None].expand(-1, len(seen.slot), 3)
    dark = shade(scene, seen, torch.zeros_like(shares[0]))
    alone = [shade(scene, seen, share.contiguous()) - dark for share in shares]
    torch.testing.assert_close(dark + sum(alone), shade(scene, seen))
    assert all(float(each.amax()) > 0.01 for each in alone)
    unlit = scene.replace(light=scene.light * 0, lamps=scene.lamps * 0)
    torch.testing.assert_close(shade(unlit, seen), dark)


def test_radiance_has_no_upper_bound_and_the_image_has() -> None:
    scene = sheet_scene(torch.tensor([[0.0, 0.0, 0.5, 4, 2, 1]]))
    renderer = Rasterizer(33, 33)
    radiance = renderer.radiance(scene)
    assert float(radiance.amax()) == pytest.approx(8, rel=0.01)
    assert torch.equal(renderer.render(scene), radiance.clamp(0, 1))
