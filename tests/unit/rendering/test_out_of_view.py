"""Scenes that show nothing of their subject: named by number, and never a counterexample."""

import pytest
import torch
from torch import nn

from offline.counterexamples import AttackSettings, find_counterexamples
from offline.rendering.composing import single
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.out_of_view import OutOfViewWarning, out_of_view
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.scene import Scene

SHEET = Mesh(
    "sheet",
    torch.tensor([[-0.5, -0.5, 0], [0.5, -0.5, 0], [-0.5, 0.5, 0], [0.5, 0.5, 0]]),
    torch.tensor([[0, 1, 2], [2, 1, 3]]),
    torch.ones(2, 3),
)
RENDERER = Rasterizer(16, 16, samples=1)


def at(*places: tuple[float, float, float]) -> Scene:
    scene = single([SHEET] * len(places), background=(0.2, 0.2, 0.2))
    return scene.replace(translation=torch.tensor(places)[:, None])


def test_scenes_without_their_subject_are_named() -> None:
    beside, behind = (40.0, 0.0, 0.0), (9.0, 9.0, 9.0)
    scenes = at(beside, (0.0, 0, 0), behind, (0.1, 0, 0))
    with pytest.warns(OutOfViewWarning, match=r"2 of 4 scenes show nothing .*: 0, 2$"):
        assert out_of_view(RENDERER, scenes, batch_size=3).tolist() == [0, 2]
    with pytest.warns(OutOfViewWarning, match=r"12 of 12 .*: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …$"):
        out_of_view(RENDERER, at(*[behind] * 12))


def test_scenes_that_show_their_subject_are_left_alone() -> None:
    assert out_of_view(RENDERER, at((0.0, 0, 0))).tolist() == []


class Brightness(nn.Module):
    """Class 0 is a bright image: the logits are the mean, and the mean that is not reached."""

    def __init__(self, bar: float) -> None:
        super().__init__()
        self.bar = bar

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean(dim=(1, 2, 3))
        return torch.stack((mean, torch.full_like(mean, self.bar)), dim=1)


def test_an_image_of_nothing_is_no_counterexample() -> None:
    # To the model every image is bright until its background darkens; both darken alike.
    scenes = at((40.0, 0, 0), (0.0, 0, 0))
    settings = AttackSettings(
        attack="si-FGSM", steps={"background": 0.05, "colour": 0.1}, iterations=4, least_coverage=0
    )
    labels = torch.zeros(2, dtype=torch.int64)
    with pytest.warns(OutOfViewWarning, match="1 of 2 scenes show nothing .*: 0$"):
        found = find_counterexamples(RENDERER, Brightness(0.15), scenes, labels, settings)
    assert found.predicted_before.tolist() == [0, 0]
    assert found.success.tolist() == [False, True]
    assert found.after.background[0].equal(scenes.background[0])
