"""The trainer: it learns, it repeats itself bit for bit, it resumes, and it says when it fails."""

import json
import signal
import subprocess
import sys
import textwrap
from collections import OrderedDict

import pytest
import torch
from torch import nn

from guard.errors import BadInput, CornerguardError
from offline.datasets import ArrayImages
from offline.hardening import Augmentation, TrainSettings, plain, train

SETTINGS = TrainSettings(
    epochs=4,
    batch_size=16,
    learning_rate=0.05,
    clip=5.0,
    average=0.9,
    augmentation=Augmentation(shift=1, flip=True),
)


def image_set(count=61, seed=0):
    """Two classes of 8 × 8 images, the second one brighter in the middle."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    pixels = torch.randint(0, 120, (count, 1, 8, 8), generator=generator)
    pixels[labels == 1, :, 2:6, 2:6] += 100
    return ArrayImages(pixels.to(torch.uint8), labels, ("dark", "bright"))


def network(seed=0):
    """A small net with what makes resuming hard: batch normalisation, dropout, int64 counters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 2),
        )  # fmt: skip


def weights_after(settings=SETTINGS, seed=0, **options):
    model = network()
    history = train(model, image_set(), settings, seed, **options)
    return model.state_dict(), history


def assert_same(one, two):
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_learns_what_can_be_learnt(device, precision):
    model = network()
    settings = TrainSettings(epochs=10, batch_size=16, learning_rate=0.1, precision=precision)
    history = train(model, image_set(200), settings, seed=0, device=device)
    assert history.losses[-1] < history.losses[0] / 4
    assert len(history.losses) == len(history.rates) == 10
    assert not model.training
    test_set = image_set(100, seed=9)
    with torch.no_grad():
        logits = model(test_set.fetch(torch.arange(100)).to(device))
    assert (logits.argmax(dim=1).cpu() == test_set.labels).float().mean() > 0.95


def test_the_seed_decides_every_bit_and_nothing_else_does():
    torch.manual_seed(1)
    one, history = weights_after()
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    two, again = weights_after()
    assert_same(one, two)
    assert history == again
    assert torch.equal(torch.random.get_rng_state(), before)
    other, _ = weights_after(seed=1)
    assert not torch.equal(one["0.weight"], other["0.weight"])


class Interrupted(Exception):
    """Stands for the signal that ends a training."""


@pytest.mark.parametrize("batches_done", [0, 5, 9])
def test_an_interrupted_training_ends_with_the_same_weights(batches_done, tmp_path):
    left = iter(range(batches_done))

    def interrupted(model, images, labels, generator):
        if next(left, None) is None:
            raise Interrupted
        return plain(model, images, labels, generator)

    whole, history = weights_after()
    with pytest.raises(Interrupted):
        weights_after(batch_loss=interrupted, checkpoint=tmp_path / "state")
    resumed, again = weights_after(checkpoint=tmp_path / "state")
    assert_same(whole, resumed)
    assert history == again
    finished, _ = weights_after(checkpoint=tmp_path / "state")  # nothing left to do
    assert_same(whole, finished)


def test_a_killed_process_leaves_a_checkpoint_that_another_one_goes_on_from(tmp_path):
    script = f"""
        import os, signal, sys, torch
        torch.set_num_threads(2)
        sys.path.insert(0, {str(__import__("pathlib").Path(__file__).parent)!r})
        from test_trainer import plain, weights_after
        from pathlib import Path
        done = []

        def killed(*batch):
            done.append(1)
            if len(done) == 6:
                os.kill(os.getpid(), signal.SIGKILL)
            return plain(*batch)

        weights_after(batch_loss=killed, checkpoint=Path(sys.argv[1]))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "state")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    state = json.loads((tmp_path / "state" / "state.json").read_text())
    assert len(state["losses"]) == 1
    whole, _ = weights_after()
    resumed, _ = weights_after(checkpoint=tmp_path / "state")
    assert_same(whole, resumed)


def test_the_checkpoint_of_another_training_is_not_taken(tmp_path):
    weights_after(checkpoint=tmp_path / "state")
    other = SETTINGS.model_copy(update={"learning_rate": 0.01})
    expected, _ = weights_after(other)
    found, _ = weights_after(other, checkpoint=tmp_path / "state")
    assert_same(expected, found)


@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_named(file, tmp_path):
    weights_after(checkpoint=tmp_path / "state")
    path = tmp_path / "state" / file
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BadInput, match="state: a damaged checkpoint"):
        weights_after(checkpoint=tmp_path / "state")


def test_divergence_names_the_epoch_and_the_step():
    settings = TrainSettings(epochs=3, batch_size=16, learning_rate=1e30, schedule="constant")
    with pytest.raises(CornerguardError, match=r"diverged: .* in epoch 1, step \d; a lower"):
        train(network(), image_set(), settings, seed=0)


def test_weights_that_overflow_in_the_last_step_are_noticed():
    def exploding(model, images, labels, generator):
        return plain(model, images, labels, generator) * 1e38

    settings = TrainSettings(epochs=1, batch_size=64, learning_rate=1e10, schedule="constant")
    with pytest.raises(CornerguardError, match="weights are not finite in epoch 1, step 1"):
        train(network(), image_set(), settings, seed=0, batch_loss=exploding)


def test_a_gradient_is_cut_to_its_greatest_norm():
    settings = TrainSettings(
        epochs=1, batch_size=32, learning_rate=1.0, schedule="constant", weight_decay=0, clip=1e-3
    )
    model = network()
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    train(model, image_set(32), settings, seed=0)
    moved = nn.utils.parameters_to_vector(model.parameters()).detach() - before
    # The first step of Nesterov's descent is (1 + momentum) gradients long.
    assert moved.norm().item() == pytest.approx(1.9e-3, rel=1e-3)


def test_a_last_batch_of_one_image_is_left_out():
    seen = []

    def counted(model, images, labels, generator):
        seen.append(len(labels))
        return plain(model, images, labels, generator)

    settings = TrainSettings(epochs=1, batch_size=4, learning_rate=0.01)
    train(network(), image_set(9), settings, seed=0, batch_loss=counted)
    assert seen == [4, 4]
    train(network(), image_set(10), settings, seed=0, batch_loss=counted)
    assert seen == [4, 4, 4, 4, 2]


def test_one_image_is_too_few():
    alone = ArrayImages(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.tensor([0]), ("a",))
    with pytest.raises(BadInput, match="at least two images, the set has 1"):
        train(network(), alone, SETTINGS, seed=0)


def test_frozen_weights_stay_and_the_average_is_of_every_step():
    model = nn.Sequential(OrderedDict(flat=nn.Flatten(), head=nn.Linear(64, 2)))
    model.head.bias.requires_grad_(False)
    bias = model.head.bias.clone()
    seen = [model.head.weight.detach().clone()]

    def watched(model, images, labels, generator):
        seen.append(model.head.weight.detach().clone())
        return plain(model, images, labels, generator)

    settings = TrainSettings(
        epochs=1, batch_size=16, learning_rate=0.1, schedule="constant", average=0.75
    )
    train(model, image_set(32), settings, seed=0, batch_loss=watched)
    assert torch.equal(model.head.bias, bias)
    # Two steps, from w0 over w1 to w2, end at 3/4 (3/4 w0 + 1/4 w1) + 1/4 w2; w2 is not seen.
    assert len(seen) == 3
    last = 4 * model.head.weight.detach() - 9 / 4 * seen[1] - 3 / 4 * seen[2]
    assert not torch.allclose(last, seen[2], atol=1e-6)
    plainly = nn.Sequential(OrderedDict(flat=nn.Flatten(), head=nn.Linear(64, 2)))
    plainly.load_state_dict({"head.weight": seen[0], "head.bias": bias})
    plainly.head.bias.requires_grad_(False)
    train(plainly, image_set(32), settings.model_copy(update={"average": None}), seed=0)
    torch.testing.assert_close(last, plainly.head.weight.detach(), atol=1e-6, rtol=0)
