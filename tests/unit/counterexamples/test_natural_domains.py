"""Parameters under attack by long steps, which stay within what renderers accept."""

import pytest
import torch
from torch import nn

from offline.counterexamples import AttackSettings, find_counterexamples
from offline.rendering.composing import single
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.rasterizer import Rasterizer


class Glow(nn.Module):
    """Never errs; the score of class 0 is brightness, or darkness."""

    def __init__(self, of):
        super().__init__()
        self.of = of

    def forward(self, images):
        mean = self.of * images.mean(dim=(1, 2, 3))
        return torch.stack((mean, torch.full_like(mean, -2.0)), dim=1)


@pytest.mark.parametrize("of", [1, -1], ids=["bright", "dark"])
@pytest.mark.parametrize(
    ("name", "least", "greatest"),
    [
        ("scale", 1e-3, torch.inf),
        ("colour", 0, torch.inf),
        ("background", 0, 1),
        ("light", [-torch.inf] * 3 + [0] * 3, torch.inf),
        ("fog", 0, [torch.inf, 1, 1, 1]),
        ("camera", [1e-3, -9, -9, 0.01, *[-9] * 4], [9, 9, 9, 3.0, *[9] * 4]),
    ],
)
def test_no_parameter_leaves_what_a_renderer_accepts(name, least, greatest, of, device):
    corners = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, 0, 1]])
    faces = torch.tensor([[0, 2, 3], [2, 1, 3], [1, 0, 3], [0, 1, 2]])
    scenes = single([Mesh("tetrahedron", corners, faces, torch.full((4, 3), 0.5))] * 2)
    fog = torch.tensor([[0.1, 0.5, 0.5, 0.5]]).repeat(2, 1)
    scenes = scenes.replace(fog=fog, background=torch.full((2, 3, 1, 1), 0.5)).to(device)
    settings = AttackSettings(steps={name: 1.5}, iterations=3, least_coverage=0.0)
    labels = torch.zeros(2, dtype=torch.int64)
    found = find_counterexamples(Rasterizer(16, 16), Glow(of), scenes, labels, settings)
    value = getattr(found.after, name)
    assert not torch.equal(value, getattr(found.before, name))
    assert (value >= torch.tensor(least) - 1e-6).all()
    assert (value <= torch.tensor(greatest) + 1e-6).all()
