"""The schedule against torch's, augmentation pixel by pixel, and mistakes in settings."""

import pytest
import torch

from guard.errors import BadInput
from guard.settings import parse_settings
from offline.hardening import (
    Augmentation,
    HardenSettings,
    TrainSettings,
    augmented,
    learning_rate_at,
)


def of_torch(make, total):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    schedule = make(optimizer)
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize("total", [8, 101])
def test_one_cycle_is_torchs(total):
    settings = TrainSettings(learning_rate=0.3, warm_up=0.25)
    theirs = of_torch(
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=0.3, total_steps=total + 1, pct_start=0.25, cycle_momentum=False,
            div_factor=25, final_div_factor=1e4,
        ),
        total,
    )  # fmt: skip
    ours = [learning_rate_at(step, total + 1, settings) for step in range(total)]
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_steps_are_torchs_milestones():
    settings = TrainSettings(learning_rate=0.3, schedule="steps", milestones=(0.5, 0.9))
    theirs = of_torch(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [50, 90]), 100)
    assert [learning_rate_at(step, 100, settings) for step in range(100)] == pytest.approx(theirs)
    constant = TrainSettings(learning_rate=0.3, schedule="constant")
    assert {learning_rate_at(step, 100, constant) for step in range(100)} == {0.3}


@pytest.mark.parametrize("total", [1, 2, 3])
def test_the_shortest_trainings_have_a_learning_rate(total):
    rates = [learning_rate_at(step, total, TrainSettings()) for step in range(total)]
    assert all(0 < rate <= 0.1 for rate in rates)


def test_a_shift_moves_every_image_by_whole_pixels_and_fills_with_black(device):
    images = torch.rand(64, 2, 6, 5, generator=torch.Generator().manual_seed(0)).to(device) + 0.01
    generator = torch.Generator().manual_seed(1)
    moved = augmented(images, Augmentation(shift=2), generator)
    padded = torch.nn.functional.pad(images, [2] * 4)
    seen = set()
    for before, after in zip(padded, moved, strict=True):
        places = [
            (down, right)
            for down in range(5)
            for right in range(5)
            if torch.equal(before[:, down : down + 6, right : right + 5], after)
        ]
        assert len(places) == 1
        seen.update(places)
    assert len(seen) > 15


def test_a_flip_mirrors_about_half_of_the_images():
    images = torch.rand(200, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    turned = augmented(images, Augmentation(flip=True), torch.Generator().manual_seed(1))
    mirrored = (turned == images.flip(3)).flatten(1).all(dim=1)
    same = (turned == images).flatten(1).all(dim=1)
    assert (mirrored ^ same).all()
    assert 70 < int(mirrored.sum()) < 130


def test_without_augmentation_the_images_are_the_same():
    images = torch.rand(2, 1, 3, 3)
    assert augmented(images, Augmentation(), torch.Generator()) is images


def test_the_thesis_defaults():
    settings = HardenSettings()
    assert settings.epsilon == 8 / 255
    assert settings.steps == 10
    assert settings.counterexample_share == 0.5


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (HardenSettings, "epsilon: 8", "looks like units of 0 to 255: write 8/255"),
        (HardenSettings, "epsilon: 0", "0 < epsilon ≤ 1"),
        (HardenSettings, "smoothing: 1.0", "0 ≤ smoothing < 1"),
        (HardenSettings, "method: mardy", "method"),
        (HardenSettings, "counterexample_share: 1.5", "counterexample_share"),
        (TrainSettings, "epochs: 0", "epochs"),
        (TrainSettings, "milestones: [0.5, 75]", "milestones are parts of the training"),
        (TrainSettings, "learning_rat: 0.1", "did you mean 'learning_rate'?"),
        (TrainSettings, "augmentation: {shfit: 2}", "did you mean 'shift'?"),
    ],
)
def test_mistakes_are_named_in_one_line(kind, text, words):
    with pytest.raises(BadInput) as caught:
        parse_settings(text, "recipe.yaml", kind)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
