"""Faces that reach behind the camera: a ground under it, against the closed form of its image."""

import math

import pytest
import torch

from offline.rendering.composing import single
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.scene import Scene

SIZE, FIELD, HEIGHT, FAR = 48, 0.8, 0.9, 40.0
FOCAL = SIZE / 2 / math.tan(FIELD / 2)


def ground(parts: int) -> Scene:
    """A black ground from FAR behind the camera to FAR before it, in parts."""
    z = torch.linspace(-FAR, FAR, parts + 1)
    rows = torch.stack(
        (torch.stack((-FAR + 0 * z, 0 * z, z), 1), torch.stack((FAR + 0 * z, 0 * z, z), 1)), 1
    )
    first = 2 * torch.arange(parts)[:, None]
    faces = torch.cat((first + torch.tensor([0, 1, 2]), first + torch.tensor([2, 1, 3])))
    mesh = Mesh("ground", rows.reshape(-1, 3), faces, torch.zeros(len(faces), 3))
    scene = single([mesh], camera=(1e-3, 0.0, 0.0, FIELD), ambient=1, light=(0, 1, 0, 0))
    return scene.replace(translation=torch.tensor([[[0, -HEIGHT, 0]]]))


def far_row(camera: torch.Tensor, height: torch.Tensor) -> torch.Tensor:
    """The row of the far border, in pixels from the upper one; the camera looks along -z."""
    elevation = camera[:, 2]
    up = -(height + camera[:, 0] * elevation.sin())
    ahead = FAR + camera[:, 0] * elevation.cos()
    # Turned by the elevation, which looks down.
    y = up * elevation.cos() + ahead * elevation.sin()
    depth = ahead * elevation.cos() - up * elevation.sin()
    return SIZE / 2 - SIZE / 2 / (camera[:, 3] / 2).tan() * y / depth


@pytest.mark.parametrize("parts", [1, 2, 7])
@pytest.mark.parametrize("elevation", [0.0, 0.11, -0.13])
@pytest.mark.parametrize("samples", [1, 2])
def test_the_ground_reaches_from_below_the_camera_to_its_far_border(
    parts: int, elevation: float, samples: int, device: torch.device
) -> None:
    scene = ground(parts).double().to(device)
    camera = scene.camera + scene.camera.new_tensor([[0, 0, elevation, 0, 0, 0, 0, 0]])
    height = scene.translation.new_tensor([HEIGHT])
    image = Rasterizer(SIZE, SIZE, samples).render(scene.replace(camera=camera))
    wanted = SIZE * (SIZE - far_row(camera, height))
    torch.testing.assert_close((1 - image).mean(1).sum((1, 2)), wanted, rtol=2e-3, atol=0.1)
    assert float(image[0, :, -1].amax()) == 0


@pytest.mark.parametrize("roll", [0.0, 0.2])
def test_its_gradient_is_that_of_finite_differences(roll: float, device: torch.device) -> None:
    scene = ground(2).double().to(device)
    camera = scene.camera + scene.camera.new_tensor([[0, 0.1, 0.07, 0, roll, 0, 0, 0]])
    renderer = Rasterizer(SIZE, SIZE)
    columns = torch.linspace(-1, 1, SIZE, dtype=torch.float64, device=device)

    def functional(scene: Scene) -> torch.Tensor:
        return ((1 + 0.5 * columns) * renderer.render(scene)).sum((1, 2, 3))

    for name in ("camera", "translation", "pose", "vertices"):
        values = {"camera": camera, name: scene.parameters()[name] if name != "camera" else camera}
        value = values[name].clone().requires_grad_()
        found = torch.autograd.grad(functional(scene.replace(**(values | {name: value}))), value)[0]
        step = 1e-2 if name != "vertices" else 0.2
        moves = step * torch.eye(value.numel(), dtype=torch.float64, device=device)
        moves = torch.cat((moves, -moves)).view(-1, *value.shape[1:])
        moved = scene[[0] * len(moves)].replace(camera=camera.expand(len(moves), -1))
        with torch.no_grad():
            ahead, behind = functional(moved.replace(**{name: values[name] + moves})).chunk(2)
        wanted = (ahead - behind) / (2 * step)
        assert wanted.norm() > 0, name
        cosine = torch.nn.functional.cosine_similarity(found.flatten(), wanted, dim=0)
        assert cosine > 0.99, name
        assert (found.norm() / wanted.norm()).item() == pytest.approx(1, abs=0.05), name


def test_gradients_are_finite_where_a_corner_lies_in_the_plane_of_the_camera() -> None:
    mesh = Mesh(
        "flag",
        torch.tensor([[0.1, -0.2, 3.0], [0.3, 0.1, 1.0], [-0.4, 0.2, 0.0]]),
        torch.tensor([[0, 1, 2]]),
        torch.ones(1, 3),
    )
    scene = single([mesh], camera=(3.0, 0.0, 0.0, FIELD), background=(0, 0, 0))
    theta = {k: scene.parameters()[k].clone().requires_grad_() for k in ("camera", "vertices")}
    image = Rasterizer(SIZE, SIZE).render(scene.replace(**theta))
    assert image.sum() > 1
    gradients = torch.autograd.grad(image.sum(), list(theta.values()))
    assert all(gradient.isfinite().all() and gradient.abs().sum() > 0 for gradient in gradients)
