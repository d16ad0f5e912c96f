"""Hardening: its losses from parts, its mixture of images, and the robustness that it buys."""

import pytest
import torch
from torch import nn

from guard.errors import BadInput
from offline.attacks import pgd, smoothed
from offline.datasets import ArrayImages, Subset
from offline.hardening import (
    HardenSettings,
    Replaced,
    TrainSettings,
    harden,
    madry_loss,
    mart_loss,
    replace_share,
    spat,
    trades_loss,
    train,
)

METHODS = {"madry": 0.2, "trades": 0.1, "mart": 0.3}


def image_set(count=256, seed=0):
    """A strong pattern and a weak one that a large ε can hide: robustness has to be learnt."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    pixels = torch.randint(100, 140, (count, 1, 8, 8), generator=generator)
    side = 2 * labels - 1
    pixels[:, 0, 0, 0] += 90 * side * (torch.rand(count, generator=generator) < 0.95)
    pixels[:, :, 4:] += 10 * side[:, None, None, None]
    return ArrayImages(pixels.to(torch.uint8), labels, ("left", "right"))


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 2))


def accuracy(model, images, labels):
    return (model.eval()(images).argmax(dim=1) == labels).float().mean().item()


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_of_a_batch_is_its_method_on_pgd_ls(method):
    images, labels = image_set().fetch(torch.arange(32)), image_set().labels[:32]
    settings = HardenSettings(method=method, epsilon=0.1, steps=3)
    seed = torch.Generator().manual_seed(4)
    ours = spat(settings)(network().train(), images, labels, seed)

    model = network()
    found = pgd(
        model,
        images,
        labels,
        epsilon=0.1,
        step_size=0.025,
        steps=3,
        objective=smoothed(METHODS[method]),
        generator=torch.Generator().manual_seed(4),
    )
    model.train()
    hard, clean = model(found), model(images)
    expected = {
        "madry": lambda: madry_loss(hard, labels),
        "trades": lambda: trades_loss(clean, hard, labels, 6.0),
        "mart": lambda: mart_loss(clean, hard, labels, 5.0),
    }[method]()
    assert ours.item() == pytest.approx(expected.item(), rel=1e-5)
    eased = spat(settings.model_copy(update={"smoothing": 0.9}))(
        network().train(), images, labels, torch.Generator().manual_seed(4)
    )
    assert eased.item() < ours.item()


@pytest.mark.parametrize("method", METHODS)
def test_hardening_buys_robustness(method, device):
    training, test = image_set(), image_set(seed=1)
    plainly, hardened = network(), network()
    settings = {"epochs": 6, "batch_size": 32, "learning_rate": 0.1}
    train(plainly, training, TrainSettings(**settings), seed=0, device=device)
    chosen = HardenSettings(
        **settings, method=method, epsilon=0.08, steps=4, smoothing=0.0, weight=2.0
    )
    harden(hardened, training, chosen, seed=0, device=device)
    assert not hardened.training
    images, labels = test.fetch(torch.arange(256)).to(device), test.labels.to(device)

    def robust(model):
        attack = {"epsilon": 0.08, "step_size": 0.02, "steps": 10}
        return accuracy(model, pgd(model, images, labels, **attack), labels)

    assert accuracy(hardened, images, labels) > 0.9
    assert robust(hardened) > robust(plainly) + 0.5


def counterexamples(training):
    rows = torch.arange(0, 256, 2)
    pixels = torch.zeros(len(rows), 1, 8, 8, dtype=torch.uint8)
    pixels[:, 0, 7, 7] = torch.arange(len(rows), dtype=torch.uint8)
    return pixels, rows


@pytest.mark.parametrize(("share", "count"), [(0.25, 64), (0.5, 128), (1.0, 128), (0.0, 0)])
def test_a_share_of_the_images_is_replaced_by_their_own_counterexamples(share, count):
    training = image_set()
    pixels, rows = counterexamples(training)
    mixed = replace_share(training, pixels, rows, share, seed=3)
    everything = torch.arange(256)
    images, originals = mixed.fetch(everything), training.fetch(everything)
    changed = (images != originals).flatten(1).any(dim=1)
    assert int(changed.sum()) == len(mixed.rows) == count
    assert (everything[changed] % 2 == 0).all()
    numbers = (images[changed][:, 0, 7, 7] * 255).round().long()
    assert torch.equal(numbers, everything[changed] // 2)
    assert torch.equal(mixed.labels, training.labels)
    assert torch.equal(mixed.rows, replace_share(training, pixels, rows, share, seed=3).rows)
    # Fetched in any order, and through another set.
    order = torch.tensor([5, 2, 2, 251])
    assert torch.equal(Subset(mixed, order).fetch(torch.arange(4)), images[order])


def test_the_mixture_is_known_by_its_fingerprint():
    training = image_set()
    pixels, rows = counterexamples(training)
    prints = {
        Replaced(training, pixels, rows).fingerprint(),
        Replaced(training, pixels + 1, rows).fingerprint(),
        Replaced(training, pixels[1:], rows[1:]).fingerprint(),
        training.fingerprint(),
    }
    assert len(prints) == 4
    assert Replaced(training, pixels, rows).fingerprint() in prints


def test_counterexamples_are_trained_on():
    training = image_set()
    pixels, rows = counterexamples(training)  # black images of the class "left"
    settings = HardenSettings(epochs=4, batch_size=32, learning_rate=0.1, epsilon=0.02, steps=2)
    model = network()
    harden(model, training, settings, seed=0, counterexamples=pixels, rows=rows)
    assert accuracy(model, pixels.float() / 255, training.labels[rows]) > 0.9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda pixels, rows: (pixels, None), "want the rows"),
        (lambda pixels, rows: (pixels[:, :, 1:], rows), r"are \(1, 7, 8\), the training images"),
        (lambda pixels, rows: (pixels, rows + 200), "replace images in 0..255 only"),
        (lambda pixels, rows: (pixels, rows // 4), "replace the same training image"),
    ],
)
def test_counterexamples_that_do_not_fit_are_refused(change, words):
    training = image_set()
    pixels, rows = change(*counterexamples(training))
    settings = HardenSettings(epochs=1, counterexample_share=1.0)
    with pytest.raises(BadInput, match=words):
        harden(network(), training, settings, seed=0, counterexamples=pixels, rows=rows)
