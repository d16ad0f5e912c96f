"""Tables of Train x Test and of transfer, on models whose answers are known by hand."""

import pytest
import torch
from torch import nn

from offline.counterexamples import AttackSettings, find_counterexamples
from offline.datasets import ArrayImages
from offline.evaluation.retraining import (
    adaptive_table,
    least_across,
    static_table,
    transfer_table,
)
from offline.rendering.composing import single
from offline.rendering.meshes.mesh import Mesh

TRIANGLE = Mesh("triangle", torch.eye(3), torch.tensor([[0, 1, 2]]), torch.ones(1, 3))


class Reds:
    """Renders 1 × 1 images whose red is the scene's first coordinate."""

    def render(self, scene):
        return scene.translation[:, 0, :, None, None]

    radiance = render

    def coverage(self, scene):
        return torch.ones(len(scene))


class Above(nn.Module):
    """Sees class 0 where red is above a bound, else class 1."""

    def __init__(self, bound):
        super().__init__()
        self.bound = bound

    def forward(self, images):
        return torch.stack((images[:, 0, 0, 0] - self.bound, torch.zeros(len(images))), dim=1)


MODELS = {"benign": Above(0.5), "robust": Above(0.25)}
REDS = (0.9, 0.65, 0.55, 0.4)  # of class 0 all: the last is wrong for `benign` from the start


def hunt(steps):
    place = torch.tensor([[[red, 0.0, 0.0]] for red in REDS])
    scenes = single([TRIANGLE] * len(REDS)).replace(translation=place)
    settings = AttackSettings(steps={"translation": 0.1}, iterations=steps, least_coverage=0.0)
    labels = torch.zeros(len(REDS), dtype=torch.int64)
    return lambda model: find_counterexamples(Reds(), model, scenes, labels, settings)


def test_a_static_table_tests_every_model_on_the_same_images():
    pixels = (torch.tensor([0.9, 0.4, 0.4, 0.1]) * 255).to(torch.uint8)
    images = pixels[:, None, None, None].expand(-1, 3, -1, -1).contiguous()
    tests = {"images": ArrayImages(images, torch.tensor([0, 0, 1, 1]), ("red", "dark"))}
    table = static_table(MODELS, tests)
    # 0.9, 0.4 | 0.4, 0.1: above 0.5 is the first alone, above 0.25 the first three.
    assert table["benign"]["images"].overall == 0.75
    assert table["benign"]["images"].by_class == (0.5, 1.0)
    assert table["robust"]["images"].by_class == (1.0, 0.5)
    assert table["robust"]["images"].as_dict() == {"overall": 0.75, "by_class": [1.0, 0.5]}


def test_an_adaptive_table_attacks_every_model_anew():
    table = adaptive_table(MODELS, {"one step": hunt(1), "two steps": hunt(2)})
    # One step takes 0.1 off, two take 0.2: 0.55 and 0.65 fall below 0.5, 0.4 below 0.25.
    found = {name: [each.overall for each in row.values()] for name, row in table.items()}
    assert found == {"benign": [0.5, 0.25], "robust": [1.0, 0.75]}
    assert least_across(table | {"one step": table["benign"], "two steps": table["robust"]},
                        ("one step", "two steps")) == 0.25  # fmt: skip


def test_transfer_is_of_the_images_as_the_attack_left_them():
    found = hunt(2)(MODELS["benign"])
    table = transfer_table(MODELS, {"benign/si-FGSM": found})
    # Left at 0.7, 0.45 (0.65 after two steps), 0.45 and 0.4, where it was.
    assert table["benign"]["benign/si-FGSM"].overall == 0.25
    assert table["robust"]["benign/si-FGSM"].overall == 1.0


def test_a_class_without_an_image_has_no_accuracy():
    pixels = torch.full((2, 3, 1, 1), 200, dtype=torch.uint8)
    whole = ArrayImages(torch.cat((pixels, pixels)), torch.tensor([0, 1, 0, 1]), ("red", "dark"))
    whole.labels = torch.tensor([1, 1, 1, 1])
    accuracy = static_table({"one": MODELS["benign"]}, {"x": whole})["one"]["x"]
    assert accuracy.by_class == (None, 0.0)
    assert accuracy.overall == pytest.approx(0.0)
