"""Training of detectors: four images are learnt by heart, mirrored boxes, the seed decides."""

from collections.abc import Iterator

import pytest
import torch

from guard.errors import BadInput
from offline.detection.detection_set import DetectionImages
from offline.detection.detector import Truth
from offline.detection.evaluation import evaluate_detector
from offline.detection.squeezedet import SqueezeDet
from offline.detection.training import mirrored, train_detector
from offline.hardening import Augmentation, TrainSettings

SHAPES = ((10.0, 10.0), (20.0, 12.0))
OBJECTS = [
    [(3, 4, 13, 14, 0), (30, 10, 52, 24, 1)],
    [(40, 2, 50, 12, 0)],
    [(8, 15, 28, 27, 1), (44, 18, 54, 28, 0)],
    [],
]
SETTINGS = TrainSettings(
    epochs=250,
    batch_size=4,
    learning_rate=0.01,
    weight_decay=0,
    clip=20.0,
    augmentation=Augmentation(flip=True),
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On images as small as these a second thread waits more than it works."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def four_images() -> DetectionImages:
    """Red squares and blue wide boxes on grain."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(60, 90, (4, 3, 32, 64), generator=generator).to(torch.uint8)
    truths = []
    for image, objects in zip(pixels, OBJECTS, strict=True):
        for x0, y0, x1, y1, label in objects:
            image[2 * label, y0:y1, x0:x1] = 220
        boxes = torch.tensor([each[:4] for each in objects]).reshape(-1, 4).float()
        truths.append(Truth(boxes, torch.tensor([each[4] for each in objects]).long()))
    return DetectionImages(pixels, truths, ("square", "wide"))


def detector() -> SqueezeDet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SqueezeDet(("square", "wide"), (32, 64), SHAPES, width=0.2, stride=8, dropout=0.0)


def test_four_images_are_learnt_by_heart(device: torch.device) -> None:
    """Trained with flips, so that it finds what it sees on one side on the other one too."""
    model, images = detector(), four_images()
    train_detector(model, images, SETTINGS, seed=0, device=device)
    assert not model.training
    turned, truths = mirrored(images.fetch(torch.arange(4)), images.truths, torch.ones(4).bool())
    other = DetectionImages(turned.mul(255).round().to(torch.uint8), truths, images.classes)
    for each in (images, other):
        scores = evaluate_detector(model, each)
        assert scores.map_50 > 0.95
        assert scores.recall_50 == 1


def test_the_seed_decides_every_bit() -> None:
    settings = SETTINGS.model_copy(update={"epochs": 3, "batch_size": 2})
    weights = []
    for seed in (1, 1, 2):
        model = detector()
        train_detector(model, four_images(), settings, seed)
        weights.append(model.convdet.weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_boxes_are_mirrored_with_their_images() -> None:
    images = four_images()
    pixels = images.fetch(torch.arange(4))
    turned, truths = mirrored(pixels, images.truths, torch.tensor([True, False, True, True]))
    assert torch.equal(turned[0], pixels[0].flip(2))
    assert torch.equal(turned[1], pixels[1])
    assert truths[0].boxes.tolist() == [[51, 4, 61, 14], [12, 10, 34, 24]]
    assert truths[1].boxes.tolist() == [[40, 2, 50, 12]]
    assert truths[3].boxes.shape == (0, 4)
    for image, (boxes, labels) in zip(turned, truths, strict=True):
        for (x0, y0, x1, y1), label in zip(boxes.int().tolist(), labels.tolist(), strict=True):
            assert (image[2 * label, y0:y1, x0:x1] > 0.8).all()


@pytest.mark.parametrize(
    ("classes", "update", "message"),
    [
        (("wide", "square"), {}, "for a detector of"),
        (("square", "wide"), {"augmentation": Augmentation(shift=2)}, "boxes do not follow"),
    ],
)
def test_what_cannot_be_trained_is_refused(classes, update, message) -> None:
    images = four_images()
    images = DetectionImages(images.pixels, images.truths, classes)
    with pytest.raises(BadInput, match=message):
        train_detector(detector(), images, SETTINGS.model_copy(update=update), seed=0)
