"""Anchors: where they are, what is assigned to them, and boxes as differences from them."""

import pytest
import torch
from torchvision.ops import box_convert, box_iou

from guard.errors import BadInput
from offline.detection.anchors import anchor_grid, assign, decode, encode, fit_shapes


def boxes_of(count: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator, dtype=dtype) * 100
    sizes = 2 + torch.rand(count, 2, generator=generator, dtype=dtype) * 60
    return torch.cat((corners, corners + sizes), dim=1)


def test_the_grid_is_row_by_row_at_the_centres_of_cells() -> None:
    grid = anchor_grid(2, 3, 16, ((10.0, 20.0), (30.0, 5.0)))
    assert grid.tolist() == [
        [8, 8, 10, 20], [8, 8, 30, 5], [24, 8, 10, 20], [24, 8, 30, 5], [40, 8, 10, 20],
        [40, 8, 30, 5], [8, 24, 10, 20], [8, 24, 30, 5], [24, 24, 10, 20], [24, 24, 30, 5],
        [40, 24, 10, 20], [40, 24, 30, 5],
    ]  # fmt: skip


def test_deltas_by_hand() -> None:
    anchor = torch.tensor([[50.0, 40.0, 20.0, 10.0]])
    box = torch.tensor([[45.0, 35.0, 65.0, 55.0]])  # centre 55, 45, size 20 x 20
    deltas = encode(box, anchor)
    assert deltas[0].tolist() == pytest.approx([0.25, 0.5, 0.0, 0.6931472], abs=1e-6)


def test_decoding_undoes_encoding() -> None:
    boxes = boxes_of(200)
    anchors = box_convert(boxes_of(200, seed=1), "xyxy", "cxcywh")
    torch.testing.assert_close(decode(encode(boxes, anchors), anchors), boxes)


def test_a_box_grows_no_further_than_any_image() -> None:
    deltas = torch.tensor([[0.0, 0.0, 500.0, -500.0]])
    x0, y0, x1, y1 = decode(deltas, torch.tensor([[0.0, 0.0, 10.0, 10.0]]))[0].tolist()
    assert x1 - x0 == pytest.approx(545.98, abs=0.01)  # 10 e^4
    assert y1 - y0 == 0


def test_each_box_takes_the_anchor_of_greatest_overlap(device: torch.device) -> None:
    anchors = anchor_grid(8, 8, 16, ((20.0, 20.0), (50.0, 30.0))).to(device)
    boxes = boxes_of(5, dtype=torch.float32).to(device) * 0.7
    overlaps = box_iou(boxes, box_convert(anchors, "cxcywh", "xyxy")).cpu()
    free = set(range(len(anchors)))
    for row, taken in zip(overlaps.tolist(), assign(boxes, anchors).tolist(), strict=True):
        assert taken in free
        assert row[taken] == max(row[i] for i in free)
        free.remove(taken)


def test_alike_boxes_take_different_anchors_and_far_ones_the_nearest() -> None:
    anchors = anchor_grid(1, 4, 16, ((8.0, 8.0),))
    alike = torch.tensor([[4.0, 4.0, 12.0, 12.0]]).expand(3, 4)
    assert assign(alike, anchors).tolist() == [0, 1, 2]
    # Between the anchors at 24 and 40, nearer to 40, overlapping none.
    thin = torch.tensor([[33.0, 7.0, 34.0, 8.0]])
    assert assign(thin, anchors).tolist() == [2]
    assert assign(torch.zeros(0, 4), anchors).tolist() == []
    with pytest.raises(BadInput, match="5 objects in an image; there are 4 anchors"):
        assign(boxes_of(5, dtype=torch.float32), anchors)


def test_fitted_shapes_are_the_sizes_that_there_are() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(90, 2, generator=generator) * 50
    sizes = torch.tensor([[10.0, 8.0], [40.0, 30.0], [60.0, 90.0]]).repeat(30, 1)
    sizes = sizes * (1 + 0.02 * torch.randn(90, 2, generator=generator))
    shapes = fit_shapes(torch.cat((corners, corners + sizes), dim=1), 3)
    for shape, wanted in zip(shapes, ((10, 8), (40, 30), (60, 90)), strict=True):
        assert shape == pytest.approx(wanted, rel=0.02)
    with pytest.raises(BadInput, match="3 anchors from 2 different sizes"):
        fit_shapes(torch.tensor([[0.0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 2, 2]]), 3)
