"""Gradients of the borders of shadows against central differences of the renderer's own image."""

import dataclasses

import pytest
import torch
from torch.nn.functional import cosine_similarity, interpolate

from offline.rendering.composing import compose, uniform_environment
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.procedural.parts import assemble, ball, box, panel
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.scene import Scene

SIZE = 64
STEPS = {"all lights": 0.01, "shadows of the sun": 0.005, "shadows of a lamp": 0.005}
"""Up to about a sample each: far below that, where samples lie decides."""
SUN = (-0.8, 1.0, 0.5, 0.6, 0.6, 0.6)
LAMP = (1.0, 2.6, 1.2, 1.5, 1.5, 1.5)
OFF = (0.0, 9.0, 0.0, 0.0, 0.0, 0.0)
DARK = (0.2, 1.0, 0.1, 0.0, 0.0, 0.0)
WHOLE = (5.0, 0.4, 0.6, 0.7, 0.1, 0.2, 0.4, 0.0)
"""A camera that sees all."""
SUNLIT = (4.0, 0.5, 1.2, 0.35, 0.1, 1.2, 0.0, -0.2)
LAMPLIT = (2.5, -1.2, 0.7, 0.5, 0.1, -1.7, 0.0, -0.9)
"""Cameras that see the floor alone, and on it the shadows that the sun, or the lamp, casts."""
VIEWS = {
    "all lights": (WHOLE, SUN, LAMP),
    "shadows of the sun": (SUNLIT, SUN, OFF),
    "shadows of a lamp": (LAMPLIT, DARK, LAMP),
}
NAMES = ("pose", "translation", "scale", "vertices", "colour", "light", "lamps", "camera")


def objects() -> list[Mesh]:
    """A box and a ball above a floor."""
    square = [(-1, 0, 1), (1, 0, 1), (1, 0, -1), (-1, 0, -1)]
    return [
        assemble("box", [box((1.2, 0.8, 0.9), (0, 0, 0), (0.8, 0.3, 0.2))]),
        assemble("ball", [ball((1, 1, 1), (0.2, 0.4, 0.9), 8, 14)]),
        assemble("floor", [panel(square, (0.7, 0.7, 0.65))]),
    ]


def still_life(camera: tuple[float, ...], sun: tuple[float, ...], lamp: tuple[float, ...]) -> Scene:
    """Their shadows fall on the floor and on each other."""
    scene = compose([objects()]).double()
    row = scene.points.new_tensor
    return dataclasses.replace(
        scene,
        pose=row([[[0.3, 0.5, 0.2], [0.4, 0.2, 0.1], [0.02, 0.1, -0.03]]]),
        translation=row([[[-0.4, 0.7, 0], [0.65, 0.95, 0.4], [0, 0, 0]]]),
        scale=row([[0.7, 0.45, 5.0]]),
        light=row([sun]),
        lamps=row([[lamp]]),
        environment=uniform_environment(row([[0.2, 0.2, 0.2]])),
        camera=row([camera]),
        background=row([0.5, 0.6, 0.9])[None, :, None, None],
    )


def smooth(count: int, generator: torch.Generator) -> torch.Tensor:
    coarse = torch.randn(count, 3, 6, 6, generator=generator, dtype=torch.float64)
    return interpolate(coarse, size=(SIZE, SIZE), mode="bicubic", align_corners=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("view", VIEWS)
def test_gradient_agrees_with_finite_differences(
    view: str, name: str, device: torch.device
) -> None:
    generator = torch.Generator().manual_seed(3)
    renderer = Rasterizer(SIZE, SIZE, samples=3, shadows=True)
    functionals = smooth(6, generator).to(device)
    step = STEPS[view]
    scene = still_life(*VIEWS[view]).to(device)
    value = scene.parameters()[name]
    directions = torch.randn(16, value[0].numel(), generator=generator).double().to(device)

    changed = value.clone().requires_grad_()
    image = renderer.render(scene.replace(**{name: changed}))
    losses = [(image * functional).sum() for functional in functionals]
    gradients = [torch.autograd.grad(loss, changed, retain_graph=True)[0] for loss in losses]
    found = (torch.stack(gradients).flatten(1) @ directions.T).flatten()

    steps = torch.cat((step * directions, -step * directions)).view(-1, *value.shape[1:])
    moved = scene[[0] * len(steps)].replace(**{name: value + steps})
    with torch.no_grad():
        ahead, behind = renderer.render(moved).chunk(2)
    wanted = torch.einsum("bchw,kchw->kb", ahead - behind, functionals).flatten() / (2 * step)
    assert wanted.norm() > 0
    assert cosine_similarity(found, wanted, dim=0) >= 0.99
    assert (found.norm() / wanted.norm()).item() == pytest.approx(1, abs=0.05)
