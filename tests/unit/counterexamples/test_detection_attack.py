"""The attack on detectors, on a detector and a renderer whose answers are closed forms."""

import dataclasses

import pytest
import torch

from guard.errors import BadInput
from offline.counterexamples import AttackSettings
from offline.counterexamples.streets.detection import attack_detector, missed
from offline.counterexamples.streets.detection_found import (
    load_detection_counterexamples,
    save_detection_counterexamples,
)
from offline.detection import Detector, Found, Truth
from offline.rendering.composing import single
from offline.rendering.meshes.mesh import Mesh

TRIANGLE = Mesh("triangle", torch.eye(3), torch.tensor([[0, 1, 2]]), torch.ones(1, 3))
WIDTH = 32


class Places:
    """Renders images whose red is the x of the translation; blue is a constant of the scene's."""

    def render(self, scene):
        return scene.translation[:, 0, :, None, None].expand(-1, -1, 16, WIDTH)

    def radiance(self, scene):
        return self.render(scene)

    def coverage(self, scene):
        return torch.ones(len(scene))


def truths_of(scenes):
    """One car of 8 x 8 pixels, at x · WIDTH; none where blue is 1."""
    found = []
    for x, _, blue in scenes.translation[:, 0].detach().tolist():
        box = torch.tensor([[x * WIDTH / 2, 4.0, x * WIDTH / 2 + 8, 12.0]])
        found.append(Truth(box[: int(blue < 1)], torch.zeros(int(blue < 1), dtype=torch.int64)))
    return found


class Remembering(Detector):
    """Finds a car where it was drawn at x = 0.5, whatever the image; its confidence falls with x.

    The confidence is 2 - 2 x, so that it is below 0.3 from x = 0.85 on; its loss is x.
    """

    classes = ("car", "bus")

    def losses(self, images, truths):
        self.seen = [truth.boxes for truth in truths]
        red = images[:, 0].mean((1, 2))
        return {"box": -red, "confidence": red, "classification": -red}

    def detect(self, images, least_score=0.005):
        found = []
        for red in images[:, 0].mean((1, 2)).tolist():
            box = torch.tensor([[8.0, 4.0, 16.0, 12.0]])
            found.append(Found(box, torch.tensor([0]), torch.tensor([min(1.0, 2 - 2 * red)])))
        return found


def streets(*places, blue=0.25):
    scene = single([TRIANGLE] * len(places))
    return scene.replace(translation=torch.tensor([[[x, 0.0, blue]] for x in places]))


def attacked(scenes, feasible=(), until="end", **settings):
    settings = AttackSettings(**{"steps": {"translation": 0.1}, "iterations": 3, **settings})
    detector = Remembering().eval()
    return attack_detector(
        Places(), detector, scenes, truths_of, settings, feasible=feasible, until=until,
        batch_size=2,
    )  # fmt: skip


def test_the_confidence_loss_rises_and_boxes_follow_the_object():
    found = attacked(streets(0.5, 0.35))
    torch.testing.assert_close(found.after.translation[:, 0, 0], torch.tensor([0.8, 0.65]))
    torch.testing.assert_close(found.loss[0], torch.tensor([0.5, 0.6, 0.7, 0.8]))
    assert found.truths_before[0].boxes[0, 0] == 8
    assert found.truths_after[0].boxes[0, 0] == pytest.approx(0.8 * WIDTH / 2)
    # Moved by 4.8 of 8 pixels the box has an IOU of 0.25 with the one that is found.
    assert found.missed_before.tolist() == [0, 0]
    assert found.missed_after.tolist() == [1, 0]
    assert found.success.tolist() == [True, False]
    assert found.renders.tolist() == [4, 4]
    assert found.images_after[0, 0, 0, 0] == round(0.8 * 255)


def test_it_may_stop_at_the_first_object_that_is_missed():
    found = attacked(streets(0.5, 0.35), until="missed")
    # An IOU of 0.5 wants a shift below 8/3 pixels, which is 0.167 in x.
    torch.testing.assert_close(found.after.translation[:, 0, 0], torch.tensor([0.7, 0.65]))
    assert found.success.tolist() == [True, False]
    assert found.renders.tolist() == [3, 4]


def test_a_scene_without_an_object_that_is_found_is_left_alone_and_told_apart():
    scenes = streets(0.5, 0.75, 0.5)
    scenes = scenes.replace(translation=scenes.translation.index_put(
        (torch.tensor(2), torch.tensor(0), torch.tensor(2)), torch.tensor(1.0)))  # fmt: skip
    found = attacked(scenes)
    assert found.already_missed.tolist() == [False, True, True]
    assert found.success.tolist() == [True, False, False]
    assert torch.equal(found.after.translation[1:], scenes.translation[1:])
    assert found.renders.tolist() == [4, 1, 1]
    assert found.figures() == {
        "scenes": 3, "already_missed": 2, "found": 1, "renders": 6, "objects_before": 2,
        "objects_after": 2, "missed_before": 1, "missed_after": 2,
    }  # fmt: skip


def test_a_feasible_set_holds_for_the_scenes_that_lie_in_it():
    def near(scenes):
        return scenes.translation[:, 0, 0] < 0.55

    found = attacked(streets(0.5, 0.6), feasible=[near])
    moves = found.after.translation[:, 0, 0]
    assert 0.5 < moves[0] < 0.55  # the step of 0.1 is not taken, half of it is
    torch.testing.assert_close(moves[1:], torch.tensor([0.9]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("boxes", "labels", "scores", "wanted"),
    [
        ([], [], [], 2),
        ([[0, 0, 10, 10], [20, 0, 30, 10]], [0, 1], [0.9, 0.9], 0),
        ([[0, 0, 10, 10], [20, 0, 30, 10]], [0, 0], [0.9, 0.9], 1),  # a bus is not a car
        ([[0, 0, 10, 10], [20, 0, 30, 10]], [0, 1], [0.9, 0.2], 1),  # not sure enough
        ([[0, 0, 10, 5.1], [25.1, 0, 35.1, 10]], [0, 1], [0.9, 0.9], 1),
        ([[0, 0, 10, 10], [0, 0, 10, 9]], [0, 0], [0.9, 0.9], 1),  # one object, found twice
    ],
)
def test_what_is_missed(boxes, labels, scores, wanted):
    truth = Truth(torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10]]), torch.tensor([0, 1]))
    found = Found(
        torch.tensor(boxes).float().view(-1, 4),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(scores).float(),
    )
    assert missed(found, truth, 0.3) == wanted


def test_what_was_found_is_saved_and_read_whole(tmp_path):
    found = attacked(streets(0.5, 0.3, 0.75))
    save_detection_counterexamples(tmp_path / "streets", found)
    same = load_detection_counterexamples(tmp_path / "streets")
    for name in vars(found):
        old, new = getattr(found, name), getattr(same, name)
        if dataclasses.is_dataclass(old):
            old, new = list(old.tensors().values()), list(new.tensors().values())
        elif isinstance(old, list):
            old, new = ([part for row in rows for part in row] for rows in (old, new))
        else:
            old, new = [old], [new]
        assert all(torch.equal(*pair) for pair in zip(old, new, strict=True)), name
    images = same.images(Remembering.classes)
    assert len(images) == 3
    assert torch.equal(images.pixels, found.images_after)
    (tmp_path / "streets" / "after.safetensors").write_bytes(b"nothing")
    with pytest.raises(BadInput, match="cannot be read"):
        load_detection_counterexamples(tmp_path / "streets")


@pytest.mark.parametrize(
    "settings",
    [{"attack": "sCW"}, {"loss": "margin"}, {"target": 1}],
)
def test_what_a_detector_does_not_have_is_refused(settings):
    with pytest.raises(BadInput, match="confidence loss"):
        attacked(streets(0.5), **settings)
