"""Carlini and Wagner's attacks on a linear model, where the best answer is known in closed form."""

import pytest
import torch
from torch import Tensor, nn

from offline.attacks import margin
from tests.benchmarks.adversarial_images import Attack, attacks, target_classes
from tests.benchmarks.carlini_wagner import Boxed, CarliniWagner

CONFIDENCE = 0.3


@pytest.fixture
def linear() -> nn.Sequential:
    """Three classes; one pixel tells class 1 from class 0 better than any other."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).eval()
    with torch.no_grad():
        model[1].weight[2] = 0
        model[1].weight[1, 7] = 1.0
    return lagging(model, 0.1)


def lagging(model: nn.Sequential, by: float) -> nn.Sequential:
    """Set the biases so that class 1 lags behind class 0 on plain grey, and class 2 far behind."""
    with torch.no_grad():
        gap = 0.5 * (model[1].weight[1] - model[1].weight[0]).sum()
        model[1].bias.copy_(torch.tensor([gap + by, 0.0, -99.0]))
    return model


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 1, 6, 6, generator=torch.Generator().manual_seed(1)) * 0.2 + 0.4


def lead(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    with torch.no_grad():
        return -margin(model(images), targets)


def column(name: str, **changed: int) -> Attack:
    search = CarliniWagner(CONFIDENCE, **changed)
    return next(one for one in attacks(colour=False, search=search) if one.name == name)


@pytest.mark.parametrize(("name", "slack"), [("CW2", 0.05), ("CW∞", 0.15)])
def test_the_distance_is_near_the_least(
    linear: nn.Sequential, images: Tensor, name: str, slack: float
) -> None:
    """|change| ≥ (κ - lead) / |w|, where |w| is the dual norm: l2 of l2, l1 of l∞."""
    targets = torch.ones(6, dtype=torch.int64)
    found = column(name).run(linear, images, targets)
    slope = linear[1].weight[1] - linear[1].weight[0]
    norms = {"CW2": (2, 2), "CW∞": (torch.inf, 1)}[name]
    change = (found - images).flatten(1).norm(norms[0], dim=1)
    least = (CONFIDENCE - lead(linear, images, targets)) / slope.norm(norms[1])
    assert (least > 0).all()
    assert (lead(linear, found, targets) > CONFIDENCE - 0.02).all()
    assert (change < least * (1 + slack)).all()
    assert (change > least * 0.97).all()


def test_cw0_finds_the_one_pixel_that_is_enough(linear: nn.Sequential, images: Tensor) -> None:
    targets = torch.ones(6, dtype=torch.int64)
    with torch.no_grad():
        linear[1].weight[:2].mul_(0.05)[1, 7] = 6.0
    lagging(linear, 1.0)
    found = column("CW0").run(linear, images, targets)
    changed = (found != images).flatten(1)
    assert changed.nonzero()[:, 1].tolist() == [7] * 6
    assert (lead(linear, found, targets) > CONFIDENCE - 0.02).all()


def test_an_image_whose_target_cannot_be_reached_stays_clean(
    linear: nn.Sequential, images: Tensor
) -> None:
    targets = torch.full((6,), 2)
    for name in ("CW∞", "CW2", "CW0"):
        found = column(name, steps=20).run(linear, images, targets)
        assert torch.equal(found, images)


def test_a_boxed_model_sees_its_box_alone(linear: nn.Sequential, images: Tensor) -> None:
    low, high = (images - 0.1).clamp_min(0), images + 0.1
    high[:, :, 0] = low[:, :, 0] = images[:, :, 0]
    boxed = Boxed(linear, low, high)
    torch.testing.assert_close(boxed.image(boxed.unit(images)), images)
    assert torch.equal(boxed.image(torch.zeros_like(images)), low)
    torch.testing.assert_close(boxed.image(torch.ones_like(images)), high)
    torch.testing.assert_close(boxed(torch.ones_like(images)), linear(high))
    assert torch.equal(boxed.image(torch.rand_like(images))[:, :, 0], images[:, :, 0])


def test_targets_are_those_of_the_thesis(linear: nn.Sequential, images: Tensor) -> None:
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    assert target_classes(linear, images, labels, "next").tolist() == [1, 2, 0, 1, 2, 0]
    assert target_classes(linear, images, labels, "ll").tolist() == [2] * 6
    assert torch.equal(target_classes(linear, images, labels, "untargeted"), labels)


def test_the_table_has_ten_columns_and_images_are_those_of_a_file(
    linear: nn.Sequential, images: Tensor
) -> None:
    columns = {(one.name, one.target): one for one in attacks(colour=False)}
    assert len(columns) == 10
    labels = linear(images).argmax(dim=1)
    for key, epsilon in ((("FGSM", "untargeted"), 0.3), (("BIM", "untargeted"), 0.3)):
        found = columns[key](linear, images, labels)
        assert (found - images).abs().max() <= epsilon + 0.5 / 255 + 1e-6
        torch.testing.assert_close(found * 255, (found * 255).round(), atol=1e-4, rtol=0)
        assert (margin(linear(found), labels) > margin(linear(images), labels)).all()
