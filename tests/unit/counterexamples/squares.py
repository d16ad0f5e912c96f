"""A renderer and a model in closed form: the logits are squares of where the object is."""

import torch
from torch import nn


class Squares:
    """Renders 1 × 1 images whose channels are the squares of the translation."""

    def render(self, scene):
        return scene.translation.square()[:, 0, :, None, None]

    def radiance(self, scene):
        return self.render(scene)

    def coverage(self, scene):
        return scene.translation[:, 0, 2]


class Twice(nn.Module):
    """The logits (2 r, b): class 0 sees red, class 1 the constant that the tests put into blue."""

    def forward(self, images):
        return torch.stack((2 * images[:, 0, 0, 0], images[:, 2, 0, 0]), dim=1)
