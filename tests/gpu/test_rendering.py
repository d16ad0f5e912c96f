"""What a GPU renders is what the CPU renders: images, gradients, shadows, ground truth."""

import dataclasses

import pytest
import torch
from torch.nn.functional import cosine_similarity

from offline.rendering import PARAMETERS, Rasterizer, Scene, concatenate
from offline.rendering.ground_truth import annotate
from tests.unit.rendering.rich_scenes import rich_scene

if not torch.cuda.is_available():
    pytest.skip("needs an NVIDIA GPU", allow_module_level=True)
SIZE = 64
GPU = torch.device("cuda")


def scenes() -> Scene:
    """Two scenes of everything, and one of fewer faces, which is padded; in float64."""
    rich = concatenate([rich_scene(0), rich_scene(1)])
    plain = dataclasses.replace(rich_scene(2), lamps=torch.zeros(1, 0, 6))
    return concatenate([rich, plain]).double()


def rendered(device: torch.device, shadows: bool) -> dict[str, torch.Tensor]:
    """Return the image, and its gradient by each of θ, on the CPU."""
    scene = scenes().to(device)
    theta = {name: value.clone().requires_grad_() for name, value in scene.parameters().items()}
    image = Rasterizer(SIZE, SIZE, shadows=shadows).render(scene.replace(**theta))
    weight = torch.linspace(0.2, 1, SIZE, dtype=torch.float64, device=device)
    gradients = torch.autograd.grad((image * weight).sum(), list(theta.values()))
    found = {"image": image.detach(), **dict(zip(PARAMETERS, gradients, strict=True))}
    return {name: value.cpu() for name, value in found.items()}


@pytest.mark.parametrize("shadows", [False, True], ids=["no shadows", "embree and the grid"])
def test_image_and_gradients_are_those_of_the_cpu(shadows: bool) -> None:
    """In the shadows too, though one asks embree, in float32, and the other the grid of lights."""
    found, wanted = rendered(GPU, shadows), rendered(torch.device("cpu"), shadows)
    difference = (found.pop("image") - wanted.pop("image")).abs()
    assert float(difference.mean()) < 1e-4
    for name, gradient in found.items():
        assert gradient.norm() > 0, name
        assert cosine_similarity(gradient.flatten(), wanted[name].flatten(), 0) > 0.999, name


def test_coverage_and_ground_truth_are_those_of_the_cpu() -> None:
    scene, renderer = scenes(), Rasterizer(SIZE, SIZE)
    torch.testing.assert_close(renderer.coverage(scene.to(GPU)).cpu(), renderer.coverage(scene))
    found, wanted = annotate(scene.to(GPU), SIZE, SIZE), annotate(scene, SIZE, SIZE)
    for name, value in wanted._asdict().items():
        torch.testing.assert_close(getattr(found, name).cpu(), value, equal_nan=True)
