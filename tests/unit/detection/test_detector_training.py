"""Training of detectors: four images are learnt by heart, mirrored boxes, the seed decides."""

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
    epochs=120, batch_size=4, learning_rate=0.02, weight_decay=0, clip=10.0, average=0.9
)


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
        return SqueezeDet(("square", "wide"), (32, 64), SHAPES, width=0.2, stride=8, dropout=0)


def test_four_images_are_learnt_by_heart(device: torch.device) -> None:
    model = detector()
    history = train_detector(model, four_images(), SETTINGS, seed=0, device=device)
    assert history.losses[-1] < history.losses[0] / 20
    scores = evaluate_detector(model, four_images())
    assert scores.map_50 > 0.99
    assert scores.recall_50 == 1
    assert scores.map_coco > 0.8
    assert not model.training


def test_the_seed_decides_every_bit() -> None:
    settings = SETTINGS.model_copy(
        update={"epochs": 3, "batch_size": 2, "augmentation": Augmentation(flip=True)}
    )
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


def test_mirrored_copies_are_learnt_with_flips() -> None:
    """Trained with flips on one side alone, it finds what it never saw: the other side."""
    images = four_images()
    settings = SETTINGS.model_copy(update={"epochs": 200, "augmentation": Augmentation(flip=True)})
    model = detector()
    train_detector(model, images, settings, seed=0)
    turned, truths = mirrored(images.fetch(torch.arange(4)), images.truths, torch.ones(4).bool())
    other = DetectionImages(turned.mul(255).round().to(torch.uint8), truths, images.classes)
    assert evaluate_detector(model, other).map_50 > 0.95


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
