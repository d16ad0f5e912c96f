import math

import numpy as np
import pytest
import torch
from torch import nn

from offline.counterexamples import Counterexamples
from offline.evaluation.boxes_drawn import FOUND, TRUTH, DrawnBox, draw_boxes
from offline.evaluation.counterexamples_shown import Answer, shown_counterexamples
from offline.evaluation.streets_shown import StreetsSeen, shown_streets
from offline.rendering.composing import single
from offline.rendering.procedural import procedural_mesh
from offline.rendering.scene import Scene

CLASSES = ("car", "bus")
ROWS = 4


class AlwaysBus(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tensor([0.0, math.log(3)]).expand(len(images), 2)


@pytest.fixture(scope="module")
def scenes() -> tuple[Scene, Scene]:
    """Scenes before and after: the second moved by (0.3, 0, 0.4), all turned by 1 radian."""
    generator = torch.Generator().manual_seed(0)
    before = single([procedural_mesh("bench", generator) for _ in range(ROWS)])
    translation = before.translation.clone()
    translation[1, 0] += torch.tensor([0.3, 0.0, 0.4])
    pose = before.pose.clone()
    pose[2:, 0, 1] += 1
    return before, before.replace(translation=translation, pose=pose)


@pytest.fixture(scope="module")
def found(scenes) -> Counterexamples:
    images = torch.randint(256, (2, ROWS, 3, 6, 6), generator=torch.Generator().manual_seed(0))
    before, after = images.to(torch.uint8)
    return Counterexamples(
        *scenes,
        before,
        after,
        labels=torch.tensor([0, 0, 1, 1]),
        predicted_before=torch.tensor([0, 0, 1, 0]),
        predicted_after=torch.tensor([0, 1, 0, 0]),
        confidence_before=torch.tensor([0.5, 0.75, 0.875, 1.0]),
        confidence_after=torch.tensor([0.5, 0.625, torch.nan, 1.0]),
        success=torch.tensor([False, True, True, False]),
        loss=torch.zeros(ROWS, 2),
        renders=torch.ones(ROWS, dtype=torch.int64),
    )


def test_successes_are_shown_with_all_that_is_known(found):
    lpips = torch.tensor([9.0, 0.25, torch.nan, 9.0])
    shown = shown_counterexamples("sGD", found, CLASSES, hardened=AlwaysBus(), lpips=lpips)
    assert (shown.name, shown.attacked, shown.found, len(shown.examples)) == ("sGD", 4, 2, 2)
    one, two = shown.examples
    assert (one.label, two.label) == CLASSES
    assert (one.before, one.after) == (Answer("car", 0.75, True), Answer("bus", 0.625, False))
    assert two.after == Answer("car", None, False)  # its confidence is no number
    assert (one.hardened.text, one.hardened.right) == ("bus", False)
    assert (two.hardened.text, two.hardened.right) == ("bus", True)
    assert one.hardened.confidence == pytest.approx(0.75)
    assert (one.lpips, two.lpips) == (0.25, None)
    assert one.changed == {"translation": "x +0.3, z +0.4 radii"}
    assert (one.distance, two.distance) == (pytest.approx(0.5), pytest.approx(1))
    np.testing.assert_array_equal(one.original, found.images_before[1].numpy() / np.float32(255))
    np.testing.assert_array_equal(two.counterexample, found.images_after[2] / 255)


def test_what_nobody_measured_is_not_made_up(found):
    shown = shown_counterexamples("sGD", found, CLASSES, most=1)
    assert (shown.found, len(shown.examples)) == (2, 1)
    assert (shown.examples[0].hardened, shown.examples[0].lpips) == (None, None)


@pytest.fixture(scope="module")
def seen(scenes) -> tuple[StreetsSeen, StreetsSeen]:
    images = torch.zeros(ROWS, 3, 32, 64, dtype=torch.uint8)
    boxes = torch.tensor([[4.0, 12.0, 20.0, 28.0], [30.0, 12.0, 60.0, 28.0]])
    truths = [(boxes, torch.tensor([1, 0]))] * ROWS
    both = [(boxes, torch.tensor([1, 0]), torch.tensor([0.75, 0.5]))] * ROWS
    weak = [(boxes, torch.tensor([1, 0]), torch.tensor([0.2, 0.1]))] * ROWS
    before, after = scenes
    return (
        StreetsSeen(before, images, truths, both, torch.zeros(ROWS, dtype=torch.int64)),
        StreetsSeen(after, images, truths, weak, torch.full((ROWS,), 2)),
    )


def test_streets_say_how_many_objects_are_found(seen):
    success = torch.tensor([False, True, False, False])
    shown = shown_streets("si-FGSM", *seen, success, CLASSES)
    (street,) = shown.examples
    assert (shown.attacked, shown.found) == (4, 1)
    assert street.label == "bus and car"
    assert street.before == Answer("finds 2 of 2", 0.625, True)
    assert street.after == Answer("finds 0 of 2", None, False)
    assert street.changed == {"translation": "x +0.3, z +0.4 m"}
    assert street.distance == pytest.approx(0.5)
    yellow, white = (np.float32(colour) / np.float32(255) for colour in (FOUND, TRUTH))
    assert street.original[:, 20, 4].tolist() == pytest.approx(yellow.tolist())
    assert street.counterexample[:, 20, 4].tolist() == pytest.approx(white.tolist())


@pytest.mark.parametrize(
    ("corners", "inside"),
    [
        ((4.0, 6.0, 12.0, 10.0), (slice(6, 10), slice(4, 12))),
        ((-5.0, -5.0, 40.0, 40.0), (slice(0, 20), slice(0, 24))),
        ((23.9, 19.9, 24.0, 20.0), (slice(19, 20), slice(23, 24))),
    ],
)
@pytest.mark.parametrize("is_truth", [True, False])
def test_a_box_is_drawn_on_the_pixels_that_it_holds(corners, inside, is_truth):
    picture = np.zeros((3, 20, 24), dtype=np.float32)
    drawn = draw_boxes(picture, [DrawnBox(corners, is_truth=is_truth)])
    touched = drawn.any(axis=0)
    rows, columns = inside
    outside = touched.copy()
    outside[inside] = False
    assert not outside.any()
    assert touched[rows.start, columns.start]
    assert not picture.any()


def test_a_label_stays_in_the_image():
    grey = np.full((1, 60, 90), 0.5, dtype=np.float32)
    for corners in ((85.0, 2.0, 90.0, 50.0), (0.0, 30.0, 20.0, 50.0), (0.0, 0.0, 90.0, 60.0)):
        plain = draw_boxes(grey, [DrawnBox(corners)])
        named = draw_boxes(grey, [DrawnBox(corners, "bus 62%")])
        assert plain.shape == named.shape == (3, 60, 90)
        assert (plain != named).any(axis=0).sum() > 100
