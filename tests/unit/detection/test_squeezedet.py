"""SqueezeDet: the paper's figures, its loss by hand and by a slow evaluation, its gradient."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from guard.errors import BadInput
from offline.detection.anchors import decode
from offline.detection.detector import Found, Truth
from offline.detection.squeezedet import SqueezeDet

SHAPES = ((12.0, 10.0), (24.0, 20.0), (9.0, 28.0))
SIZE = (32, 48)


def detector(seed: int = 0, **options: object) -> SqueezeDet:
    """A small one whose predictions differ from anchor to anchor."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SqueezeDet(("car", "bus"), SIZE, SHAPES, width=0.1, **options)
        nn.init.normal_(model.convdet.weight, std=0.1)
        return model.eval()


def some(count: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, *SIZE, generator=generator, dtype=dtype)


def truth(*objects: tuple[float, float, float, float, int]) -> Truth:
    boxes = torch.tensor([each[:4] for each in objects]).reshape(-1, 4)
    return Truth(boxes.float(), torch.tensor([int(each[4]) for each in objects]).long())


TRUTHS = [truth((2, 3, 30, 22, 1), (33, 1, 45, 12, 0)), truth(), truth((5, 2, 14, 31, 0))]


def test_it_is_the_network_of_the_paper() -> None:
    """7.9 MB of float32, a grid of 78 x 24 with 9 anchors; the layers' sizes from the authors'."""
    paper = SqueezeDet(("car", "pedestrian", "cyclist"), batch_norm=False)
    trainable = sum(weight.numel() for weight in paper.parameters())
    assert trainable == 2_082_120
    assert round(trainable * 4 / 2**20, 1) == 7.9
    assert paper.anchors.shape == (24 * 78 * 9, 4)
    fires = [m for m in paper.trunk if not isinstance(m, (nn.Sequential, nn.MaxPool2d))]
    assert [fire.squeeze[0].out_channels for fire in fires] == [16, 16, 32, 32, 48, 48, 64, 64, 96,
                                                                96]  # fmt: skip
    assert paper.convdet.in_channels == 768
    assert paper.convdet.out_channels == 9 * (4 + 1 + 3)


@pytest.mark.parametrize(("stride", "cells"), [(16, 6), (8, 24)])
def test_each_anchor_has_a_prediction(device: torch.device, stride: int, cells: int) -> None:
    model = detector(stride=stride).to(device)
    kinds, confidence, deltas = model(some(2).to(device))
    assert kinds.shape == (2, cells * 3, 2)
    assert deltas.shape == (2, cells * 3, 4)
    assert confidence.shape == (2, cells * 3)
    assert ((confidence > 0) & (confidence < 1)).all()


def test_confidences_start_low() -> None:
    with torch.random.fork_rng(devices=[]):
        model = SqueezeDet(("car", "bus"), SIZE, SHAPES, width=0.1).eval()
    assert float(model(some(2)).confidence.detach().mean()) == pytest.approx(0.01, abs=0.005)


def test_the_loss_by_hand() -> None:
    """All anchors alike: confidence 0.01, no deltas, classes even. Anchor 0 is (2, 3, 14, 13)."""
    model = SqueezeDet(("car", "bus"), (32, 32), ((12.0, 10.0),), width=0.1).eval()
    nn.init.zeros_(model.convdet.weight)
    truths = [truth((2, 3, 14, 13, 1)), truth((3.2, 3, 15.2, 13, 0)), truth()]
    losses = model.losses(torch.rand(3, 3, 32, 32), truths)
    # The second box is 0.1 of its anchor's width to the right: an IOU of 10.8 / 13.2.
    assert losses["box"].tolist() == pytest.approx([0, 5 * 0.1**2, 0], abs=1e-5)
    empty = 100 * 0.01**2
    wanted = [75 * 0.99**2 + empty, 75 * (9 / 11 - 0.01) ** 2 + empty, empty]
    assert losses["confidence"].tolist() == pytest.approx(wanted, rel=1e-5)
    assert losses["classification"].tolist() == pytest.approx([math.log(2), math.log(2), 0])


def test_the_loss_is_that_of_a_slow_evaluation_of_equation_2() -> None:
    model = detector().double()
    truths = [Truth(boxes.double(), labels) for boxes, labels in TRUTHS]
    images = some(3, dtype=torch.float64)
    losses = {name: value.tolist() for name, value in model.losses(images, truths).items()}
    kinds, confidence, deltas = (part.detach().numpy() for part in model(images))
    for i, (boxes, labels) in enumerate(truths):
        box, sure, kind = slow_loss(
            kinds[i], confidence[i], deltas[i], model.anchors.numpy(), boxes.numpy(), labels.numpy()
        )
        assert losses["box"][i] == pytest.approx(box, rel=1e-9)
        assert losses["confidence"][i] == pytest.approx(sure, rel=1e-9)
        assert losses["classification"][i] == pytest.approx(kind, rel=1e-9)


def test_doubt_rises_with_sure_errors_and_falls_with_every_anchor_that_finds_an_object() -> None:
    model = detector().double()
    images = some(2, dtype=torch.float64)
    kinds, confidence, deltas = model(images)
    boxes = decode(deltas.detach(), model.anchors.expand_as(deltas))
    # Where two anchors of the middle put theirs, as far as that is in the image.
    border = torch.tensor([48.0, 32, 48, 32]).double()
    objects = boxes[0, [6, 10]].clamp(torch.zeros(4).double(), border)
    truths = [Truth(objects, torch.tensor([1, 0])), Truth(objects[:0], torch.tensor([]).long())]
    fits = [[slow_iou(box, each) >= 0.5 for each in objects.tolist()] for box in boxes[0].tolist()]
    scores = (kinds.softmax(2) * confidence[..., None]).tolist()
    # The first object is a bus, the second a car.
    finds = [[(fit[1], fit[0]) for fit in fits], [(False, False)] * len(fits)]
    assert {(True, False), (False, True), (False, False)} <= set(finds[0])
    wanted = [
        sum((1 if found else -1) * math.log(1 - score) for found, score in zip(*one, strict=True))
        for each in zip(finds, scores, strict=True)
        for one in zip(*each, strict=True)
    ]
    halves = sum(wanted[: len(fits)]) / 2, sum(wanted[len(fits) :])
    doubt = model.doubt(images, truths).tolist()
    assert doubt == pytest.approx(halves, rel=1e-9)


def slow_iou(a, b) -> float:
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return wide * high / (sum(areas) - wide * high)


def slow_loss(kinds, confidence, deltas, anchors, boxes, labels) -> tuple[float, float, float]:
    """Equation 2 with λ of 5, 75 and 100, one anchor after the other; every box has its own."""

    def corners(x, y, w, h) -> tuple[float, float, float, float]:
        return x - w / 2, y - h / 2, x + w / 2, y + h / 2

    own = [max(range(len(anchors)), key=lambda k: slow_iou(corners(*anchors[k]), b)) for b in boxes]
    assert len(set(own)) == len(own)
    box = sure = kind = empty = 0.0
    for k, (ax, ay, aw, ah) in enumerate(anchors):
        dx, dy, dw, dh = deltas[k]
        if k not in own:
            empty += confidence[k] ** 2
            continue
        x0, y0, x1, y1 = boxes[own.index(k)]
        wanted = ((x0 + x1) / 2 - ax) / aw, ((y0 + y1) / 2 - ay) / ah, np.log((x1 - x0) / aw), (
            np.log((y1 - y0) / ah))  # fmt: skip
        box += sum((a - b) ** 2 for a, b in zip((dx, dy, dw, dh), wanted, strict=True))
        predicted = corners(ax + aw * dx, ay + ah * dy, aw * np.exp(dw), ah * np.exp(dh))
        sure += (confidence[k] - slow_iou(predicted, (x0, y0, x1, y1))) ** 2
        odds = np.exp(kinds[k])
        kind -= np.log(odds[labels[own.index(k)]] / odds.sum())
    count = max(1, len(own))
    lacking = 100 * empty / (len(anchors) - len(own))
    return 5 * box / count, 75 * sure / count + lacking, kind / count


def test_an_image_s_losses_do_not_depend_on_the_batch(device: torch.device) -> None:
    model, images = detector().to(device), some(3).to(device)
    truths = [Truth(boxes.to(device), labels.to(device)) for boxes, labels in TRUTHS]
    together = model.losses(images, truths)
    for i in range(3):
        alone = model.losses(images[i : i + 1], truths[i : i + 1])
        for name, value in alone.items():
            torch.testing.assert_close(value[0], together[name][i], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["box", "confidence", "classification", "doubt"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    """Boxes do not depend on the image here, so that the IOU, a constant target, is constant."""
    model = detector().double()
    if name in ("confidence", "doubt"):
        with torch.no_grad():
            model.convdet.weight.view(3, 7, -1)[:, 3:] = 0
    truths = [Truth(boxes.double(), labels) for boxes, labels in TRUTHS]

    def value(images: torch.Tensor) -> torch.Tensor:
        doubted = name == "doubt"
        return (
            model.doubt(images, truths) if doubted else model.losses(images, truths)[name]
        ).sum()

    images = some(3, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(value(images), images)
    for seed in range(3):
        step = some(3, seed + 5, torch.float64) - 0.5
        with torch.no_grad():
            ends = [value(images + s * step) for s in (1e-6, -1e-6)]
        slope = float(ends[0] - ends[1]) / 2e-6
        assert slope != 0
        assert float((gradient * step).sum()) == pytest.approx(slope, rel=1e-4)


def test_what_is_found_is_sorted_suppressed_and_within_the_image(device: torch.device) -> None:
    model = detector(most=12).to(device)
    for boxes, labels, scores in model.detect(some(4).to(device), least_score=0.002):
        assert 1 <= len(scores) <= 12
        assert (scores.diff() <= 0).all()
        assert (scores >= 0.002).all()
        assert (boxes >= 0).all()
        assert (boxes <= torch.tensor([48, 32, 48, 32], device=device)).all()
        for i in range(len(boxes)):
            for j in range(i):
                if labels[i] == labels[j]:
                    assert overlap(boxes[i].tolist(), boxes[j].tolist()) <= 0.4 + 1e-6


def overlap(a: list[float], b: list[float]) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inner = max(0.0, wide) * max(0.0, high)
    return inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner)


def test_a_prediction_becomes_a_box_by_hand() -> None:
    """One anchor is certain of a bus that is half a width to the right and twice as high."""
    model = SqueezeDet(("car", "bus"), (32, 32), ((8.0, 8.0),), width=0.1).eval()
    nn.init.zeros_(model.convdet.weight)
    with torch.no_grad():
        model.convdet.bias.copy_(torch.tensor([0, math.log(3), 0, 0.5, 0, 0, math.log(2)]))
    found = model.detect(torch.rand(1, 3, 32, 32))[0]
    assert isinstance(found, Found)
    wanted = [[8, 0, 16, 16], [24, 0, 32, 16], [8, 16, 16, 32], [24, 16, 32, 32]]
    assert sorted(found.boxes.tolist(), key=lambda box: (box[1], box[0])) == [
        pytest.approx(box, abs=1e-4) for box in wanted
    ]
    assert found.labels.tolist() == [1, 1, 1, 1]
    assert found.scores.tolist() == pytest.approx([0.5 * 0.75] * 4)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([truth((40, 3, 49, 9, 0))], "within 0 to 48"),
        ([truth((4, 9, 12, 9, 0))], "y0 < y1"),
        ([truth((math.nan, 3, 9, 9, 0))], "image 0: box"),
        ([truth((1, 3, 9, 9, 2))], "image 0: label 2: allowed are 0 to 1"),
        ([truth(), truth()], "2 ground truths for 1 images"),
        ([Truth(torch.zeros(0, 4), torch.tensor([1]))], "0 boxes with 1 labels"),
    ],
)
def test_a_ground_truth_that_cannot_be_is_refused(bad: list[Truth], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        detector().losses(some(1), bad)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadInput, match=r"images of 32 x 32 pixels; this detector takes \(32, 48\)"):
        detector()(torch.rand(1, 3, 32, 32))
    with pytest.raises(BadInput, match="a stride of 8 or 16"):
        SqueezeDet(("car",), (40, 48), SHAPES)
