import json
from functools import partial

import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score
from torch import nn

from offline.attacks.gradient import pgd
from offline.datasets import ArrayImages, Subset
from offline.evaluation.robustness import accuracy, robust_accuracy

CLASSES = ("dark", "middle", "bright")


class Nearest(nn.Module):
    """Logits are minus the squared distance of the mean to 0, 0.5 and 1, times ten."""

    def forward(self, images):
        centres = torch.tensor([0.0, 0.5, 1.0], device=images.device)
        return -10 * (images.mean(dim=(1, 2, 3))[:, None] - centres) ** 2


@pytest.fixture
def images() -> ArrayImages:
    random = torch.Generator().manual_seed(0)
    levels = torch.randint(0, 256, (60,), generator=random)
    labels = torch.randint(0, 3, (60,), generator=random)
    pixels = levels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous()
    return ArrayImages(pixels, labels, CLASSES)


@pytest.mark.parametrize("batch_size", [1, 7, 60, 256])
def test_accuracy_agrees_with_scikit_learn(images, batch_size):
    logits = Nearest()(images.fetch(torch.arange(60)))
    truth, guess = images.labels.numpy(), logits.argmax(1).numpy()
    found = accuracy(Nearest(), images, batch_size)
    assert (found.correct, found.total) == (int((truth == guess).sum()), 60)
    assert found.value == pytest.approx(accuracy_score(truth, guess))
    assert [list(row) for row in found.confusion] == confusion_matrix(truth, guess).tolist()
    assert list(found.by_class.values()) == pytest.approx(recall_score(truth, guess, average=None))
    assert found.mean_confidence == pytest.approx(logits.softmax(1).amax(1).mean().item())
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["value"] == found.value


def test_a_class_without_images_has_no_accuracy(images):
    dark = Subset(images, (images.labels == 0).nonzero().flatten())
    found = accuracy(Nearest(), dark)
    assert [found.by_class[name] is None for name in CLASSES] == [False, True, True]


@pytest.mark.parametrize("epsilon", [0.02, 0.1])
def test_robust_accuracy_is_that_of_images_out_of_the_attacks_reach(epsilon):
    # levels 0 … 63 are dark, below 0.25; 255 is middle and out of reach
    levels = torch.tensor([*range(64), 255], dtype=torch.uint8)
    pixels = levels.view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    images = ArrayImages(pixels, (levels > 63).long(), ("dark", "middle"))
    attack = partial(pgd, epsilon=epsilon, step_size=epsilon / 2, steps=4)
    found = robust_accuracy(DarkOrMiddle(), images, attack, batch_size=16)
    assert found.correct == int((levels / 255 + epsilon < 0.25).sum()) + 1
    assert accuracy(DarkOrMiddle(), images).value == 1.0


class DarkOrMiddle(nn.Module):
    """Calls an image dark when its mean is below 0.25."""

    def forward(self, images):
        mean = images.mean(dim=(1, 2, 3))
        return torch.stack([0.25 - mean, mean - 0.25], dim=1)
