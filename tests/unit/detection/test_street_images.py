"""Street images with boxes: what counts, where it is, and that the seed decides every bit."""

from pathlib import Path

import pytest
import torch

from guard.errors import BadInput
from offline.detection.detection_set import (
    DetectionImages,
    StreetImages,
    StreetSetSettings,
    render_streets,
    truths_of,
)
from offline.detection.detector import Truth
from offline.rendering.ground_truth import annotate
from offline.rendering.scene import PARAMETERS
from offline.rendering.streets import StreetSettings
from offline.rendering.streets.models import StreetModels

STREET = StreetSettings(subjects=("car", "bus"), hour=(12, 12), vehicles=5, length=50)
SETTINGS = StreetSetSettings(size=(48, 96), least_pixels=20, street=STREET)
COUNT, SEED = 3, 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("streets")
    render_streets(made, COUNT, SETTINGS, SEED)
    return made


def test_scenes_drawn_again_give_the_same_images_and_boxes(folder: Path) -> None:
    images = StreetImages(folder, SETTINGS, SEED)
    assert len(images) == COUNT
    assert images.classes == ("car", "bus")
    scenes = images.scenes(torch.arange(COUNT))
    again = SETTINGS.renderer().render(scenes).mul(255).round().to(torch.uint8)
    assert torch.equal(again, images.pixels)
    for kept, drawn in zip(images.truths, truths_of(scenes, SETTINGS), strict=True):
        assert torch.equal(kept.boxes, drawn.boxes)
        assert torch.equal(kept.labels, drawn.labels)
    last = images.scenes(torch.tensor([COUNT - 1]))
    for name in PARAMETERS:  # the same scene, less padded
        one, padded = getattr(last, name)[0], getattr(scenes, name)[COUNT - 1]
        assert torch.equal(one, padded[tuple(slice(size) for size in one.shape)]), name
    torch.testing.assert_close(images.fetch(torch.tensor([1]))[0] * 255, images.pixels[1].float())


def test_what_counts_is_what_is_seen_enough(folder: Path) -> None:
    """Each object looked at by itself, pixel by pixel."""
    images = StreetImages(folder, SETTINGS, SEED)
    scenes = images.scenes(torch.arange(COUNT))
    seen, names = annotate(scenes, *SETTINGS.size), StreetModels().classes
    left_out = 0
    for i in range(COUNT):
        wanted = []
        for k, kind in enumerate(scenes.classes[i].tolist()):
            if kind < 0 or names[kind] not in SETTINGS.classes:
                continue
            rows, columns = (seen.instances[i] == k).nonzero().unbind(1)
            if len(rows) < 20 or float(seen.visible[i, k]) < 0.4:
                left_out += 1
                continue
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            wanted.append((*map(float, box), SETTINGS.classes.index(names[kind])))
        boxes, labels = images.truths[i]
        assert [(*b, k) for b, k in zip(boxes.tolist(), labels.tolist(), strict=True)] == wanted
        assert wanted
    assert left_out


def test_a_moved_object_s_box_moves_with_it(folder: Path) -> None:
    scenes = StreetImages(folder, SETTINGS, SEED).scenes(torch.tensor([0]))
    before = truths_of(scenes, SETTINGS)[0]
    aside = torch.zeros_like(scenes.translation)
    aside[0, 0, 0] = 0.4  # the subject, metres to the right
    after = truths_of(scenes.replace(translation=scenes.translation + aside), SETTINGS)[0]
    assert after.boxes[0, 0] > before.boxes[0, 0]
    assert torch.equal(before.labels[:1], after.labels[:1])


def test_a_class_that_no_street_has_is_refused(folder: Path) -> None:
    scenes = StreetImages(folder, SETTINGS, SEED).scenes(torch.tensor([0]))
    wrong = SETTINGS.model_copy(update={"classes": ("car", "buss")})
    with pytest.raises(BadInput, match="classes: no 'buss' in a street; did you mean 'bus'"):
        truths_of(scenes, wrong)


def test_a_set_in_memory_and_what_it_refuses() -> None:
    pixels = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    none = Truth(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    car = Truth(torch.tensor([[1.0, 2.0, 7.0, 8.0]]), torch.tensor([0]))
    images = DetectionImages(pixels, [none, car], ("car",))
    assert images.fingerprint() == DetectionImages(pixels, [none, car], ("car",)).fingerprint()
    for other in (
        DetectionImages(pixels, [car, none], ("car",)),
        DetectionImages(pixels + 1, [none, car], ("car",)),
        DetectionImages(pixels, [none, car], ("bus",)),
    ):
        assert other.fingerprint() != images.fingerprint()
    with pytest.raises(BadInput, match="image 1: box"):
        DetectionImages(pixels[:, :, :6], [none, car], ("car",))
