"""Tuning: on counterexamples alone, mixed in, and in turn with the pixels of PGD."""

import pytest
import torch
from torch import nn

from guard.errors import BadInput
from offline.attacks import pgd
from offline.datasets import ArrayImages
from offline.hardening import (
    Replaced,
    TrainSettings,
    counterexamples_only,
    perturbed_pixels,
    train,
    tuned,
)

SETTINGS = TrainSettings(epochs=6, batch_size=32, learning_rate=0.1)
PGD = {"epsilon": 0.2, "step_size": 0.05, "steps": 8}


def image_set(corner, seed=0, count=256):
    """Grey images of two classes that one pixel tells apart, bright or dark by 60 of 255."""
    labels = torch.arange(count) % 2
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(120, 136, (count, 1, 4, 4), generator=generator).to(torch.uint8)
    pixels[:, 0, corner, corner] = (128 + 60 * (2 * labels - 1)).to(torch.uint8)
    return ArrayImages(pixels, labels, ("dark", "bright"))


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 2))


@pytest.fixture(scope="module")
def benign():
    model = network()
    train(model, image_set(0), SETTINGS, 0)
    return model


def moved():
    """The training images of `image_set(0)`, half of them with the pixel in another corner."""
    rows = torch.arange(128)
    return Replaced(image_set(0), image_set(3).pixels[:128], rows)


def right(model, images):
    with torch.no_grad():
        logits = model(images.fetch(torch.arange(len(images))))
    return (logits.argmax(dim=1) == images.labels).double().mean().item()


def test_retraining_on_a_mixture_learns_the_counterexamples_and_keeps_the_rest(benign):
    before = {name: value.clone() for name, value in benign.state_dict().items()}
    assert right(benign, image_set(0, seed=1)) > 0.95 > right(benign, image_set(3, seed=1)) + 0.2
    robust = tuned(benign, [lambda model: moved()], SETTINGS, seed=1)
    assert min(right(robust, image_set(corner, seed=1)) for corner in (0, 3)) > 0.95
    assert not robust.training
    for name, value in benign.state_dict().items():
        assert value.equal(before[name])


def test_counterexamples_alone_are_those_that_were_put_in():
    alone = counterexamples_only(moved())
    everything = torch.arange(128)
    assert len(alone) == 128
    assert alone.fetch(everything).equal(image_set(3).fetch(everything))
    assert alone.labels.equal(image_set(3).labels[:128])


def test_each_stage_sees_the_model_that_the_one_before_made(benign):
    seen = []

    def stage(corner):
        def make(model):
            seen.append([right(model, image_set(each, seed=1)) > 0.95 for each in (0, 3)])
            return image_set(corner)

        return make

    robust = tuned(benign, [stage(3), stage(0)], SETTINGS, seed=1)
    assert seen[0] == [True, False]
    assert seen[1][1]
    assert right(robust, image_set(0, seed=1)) > 0.95
    again = tuned(benign, [stage(3), stage(0)], SETTINGS, seed=1)
    assert all(v.equal(again.state_dict()[k]) for k, v in robust.state_dict().items())


def test_perturbed_pixels_are_what_pgd_makes_and_tuning_on_them_hardens(benign, device):
    images, rows = image_set(0), torch.arange(1, 256, 2)
    model = tuned(benign, [lambda model: images], SETTINGS, 0, device)
    found = perturbed_pixels(model, images, rows, **PGD, batch_size=50)
    expected = pgd(model, images.fetch(rows).to(device), images.labels[rows].to(device), **PGD)
    # A step of PGD is the same for any batch; rounding to 8 bits is off by half a step at most.
    assert (found.fetch(rows) - expected.cpu()).abs().max() <= 0.5 / 255 + 1e-6
    kept = torch.arange(0, 256, 2)
    assert found.fetch(kept).equal(images.fetch(kept))
    hardened = tuned(
        model,
        [lambda model: perturbed_pixels(model, images, torch.arange(256), **PGD)] * 3,
        SETTINGS, 0, device,
    )  # fmt: skip
    test = image_set(0, seed=1)
    under = {
        name: right(each.cpu(), perturbed_pixels(each.cpu(), test, torch.arange(256), **PGD))
        for name, each in (("before", model), ("after", hardened))
    }
    assert under["after"] > under["before"] + 0.2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda model: tuned(model, [], SETTINGS, 0), "without a stage"),
        (
            lambda model: perturbed_pixels(model, image_set(0), torch.arange(0), **PGD),
            "at least one row",
        ),
    ],
)
def test_nothing_to_train_on_is_refused(benign, wrong, words):
    with pytest.raises(BadInput, match=words):
        wrong(benign)
