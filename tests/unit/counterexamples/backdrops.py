"""Scenes that are nothing but a background, so that a semantic attack is one on pixels."""

import torch
from torch import nn

from offline.rendering.composing import single
from offline.rendering.meshes.mesh import Mesh

TRIANGLE = Mesh("triangle", torch.eye(3), torch.tensor([[0, 1, 2]]), torch.ones(1, 3))


class Backdrop:
    """Renders the background itself."""

    def render(self, scene):
        return scene.background

    def radiance(self, scene):
        return scene.background

    def coverage(self, scene):
        return torch.ones_like(scene.background[:, 0, 0, 0])


def backdrops(images):
    return single([TRIANGLE] * len(images)).to(images.device).replace(background=images)


def network(device, seed=0):
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Softplus(), nn.Flatten(), nn.Linear(8 * 6 * 6, 5))
    return layers.to(device).eval()


def case(device, count=12):
    """Return a model, images of 8 bits in [0, 1], and what the model says of them."""
    model = network(device)
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(40, 216, (count, 3, 8, 8), generator=generator).to(device) / 255
    with torch.no_grad():
        return model, images, model(images).argmax(dim=1)
