"""Which face blocks the light: embree and the grid against each other and against closed forms."""

import pytest
import torch

from offline.rendering.camera import to_world
from offline.rendering.procedural import CLASSES
from offline.rendering.rasterizer.light_grid import GridOccluders
from offline.rendering.rasterizer.occlusion import EmbreeOccluders
from offline.rendering.sampling import sample_scenes

WAYS = [EmbreeOccluders, GridOccluders]


def around(scene: torch.Tensor, lights: torch.Tensor, count: int) -> tuple[torch.Tensor, ...]:
    """Random places around the objects, each with a light of its scene."""
    generator = torch.Generator().manual_seed(5)
    number = torch.arange(len(lights)).repeat_interleave(count)
    light = torch.randint(lights.shape[1], (len(number),), generator=generator)
    places = 1.5 * torch.randn(len(number), 3, generator=generator)
    return number * lights.shape[1] + light, places


@pytest.mark.parametrize("label", range(len(CLASSES)), ids=CLASSES)
def test_grid_and_embree_name_the_same_faces(label: int, device: torch.device) -> None:
    scene = sample_scenes(torch.tensor([label, 3]), torch.Generator().manual_seed(label), 32)
    lamps = torch.tensor([[0.3, 1.5, 0.2, 1], [-2, 0.1, 1, 1], [0.1, 0.2, 0, 1]])
    sun = torch.nn.functional.pad(scene.light[:, None, :3], (0, 1))
    lights = torch.cat((sun, lamps.expand(2, 3, 4)), dim=1)
    source, places = around(scene.points, lights, 3000)
    wanted = EmbreeOccluders(to_world(scene), scene.faces, lights).blocking(source, places)
    grid = GridOccluders(*(v.to(device) for v in (to_world(scene), scene.faces, lights)))
    found = grid.blocking(source.to(device), places.to(device))
    for light in range(4):
        own = source % 4 == light
        assert (wanted[own] >= 0).float().mean() > 0.02
        assert ((found.cpu() >= 0) == (wanted >= 0))[own].float().mean() >= 0.999
        assert (found.cpu() == wanted)[own].float().mean() >= 0.99
    assert torch.equal(found, grid.blocking(source.to(device), places.to(device)))
