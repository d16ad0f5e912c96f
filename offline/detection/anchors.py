"""Anchors of SqueezeDet: a few shapes of box at each cell of a grid, which predictions start from.

Wu et al. 2016, section 3.1. An anchor is its centre and size (x, y, width, height) in pixels.
"""

import numpy as np
import torch
from jaxtyping import Float, Int64
from sklearn.cluster import KMeans
from torch import Tensor
from torchvision.ops import box_convert, box_iou

from guard.errors import BadInput

__all__ = ["anchor_grid", "assign", "decode", "encode", "fit_shapes"]

GREATEST_GROWTH = 4.0  # of a logarithm: a box of e^4 times its anchor is larger than any image


def fit_shapes(
    boxes: Float[Tensor, "box 4"], count: int, seed: int = 0
) -> tuple[tuple[float, float], ...]:
    """Return widths and heights of `count` anchors for boxes (x0, y0, x1, y1), small ones first.

    They are the centres of k-means over the logarithms of sizes: what `encode` measures in.

    Raises:
        BadInput: there are fewer sizes of boxes than anchors.
    """
    sizes = (boxes[:, 2:] - boxes[:, :2]).log().double().cpu().numpy()
    different = len(np.unique(sizes, axis=0))
    if different < count:
        raise BadInput(f"{count} anchors from {different} different sizes of boxes: too few")
    centres = KMeans(count, n_init=5, random_state=seed).fit(sizes).cluster_centers_
    shapes = sorted(np.exp(centres).tolist(), key=lambda shape: shape[0] * shape[1])
    return tuple((round(width, 1), round(height, 1)) for width, height in shapes)


def anchor_grid(
    rows: int, columns: int, stride: int, shapes: tuple[tuple[float, float], ...]
) -> Float[Tensor, "anchor 4"]:
    """Return all anchors, those of a cell together, at the centres of cells of `stride` pixels."""
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    centres = (torch.stack((x, y), dim=2) + 0.5) * stride
    sizes = torch.tensor(shapes)
    places = centres[:, :, None].expand(-1, -1, len(sizes), -1)
    return torch.cat((places, sizes.expand_as(places)), dim=3).reshape(-1, 4)


def encode(
    boxes: Float[Tensor, "*many 4"], anchors: Float[Tensor, "*many 4"]
) -> Float[Tensor, "*many 4"]:
    """Return how boxes (x0, y0, x1, y1) differ from anchors: equation 1, solved for the deltas."""
    boxes = box_convert(boxes, "xyxy", "cxcywh")
    moved = (boxes[..., :2] - anchors[..., :2]) / anchors[..., 2:]
    return torch.cat((moved, (boxes[..., 2:] / anchors[..., 2:]).log()), dim=-1)


def decode(
    deltas: Float[Tensor, "*many 4"], anchors: Float[Tensor, "*many 4"]
) -> Float[Tensor, "*many 4"]:
    """Return the boxes (x0, y0, x1, y1) that deltas make of anchors: equation 1.

    x = x̂ + ŵ δx, y = ŷ + ĥ δy, w = ŵ exp(δw), h = ĥ exp(δh); δw and δh above 4 count as 4.
    """
    centres = anchors[..., :2] + anchors[..., 2:] * deltas[..., :2]
    sizes = anchors[..., 2:] * deltas[..., 2:].clamp_max(GREATEST_GROWTH).exp()
    return torch.cat((centres - sizes / 2, centres + sizes / 2), dim=-1)


def assign(
    boxes: Float[Tensor, "object 4"], anchors: Float[Tensor, "anchor 4"]
) -> Int64[Tensor, " object"]:
    """Return the anchor that is responsible for each box (x0, y0, x1, y1).

    It is the one of greatest IOU that no box before has taken; where none overlaps, the nearest.

    Raises:
        BadInput: there are more boxes than anchors.
    """
    if len(boxes) > len(anchors):
        raise BadInput(f"{len(boxes)} objects in an image; there are {len(anchors)} anchors")
    overlaps = box_iou(boxes, box_convert(anchors, "cxcywh", "xyxy"))
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    # Between 0 and -1, so that any overlap counts for more than any nearness.
    far = torch.cdist(centres, anchors[:, :2])
    fitness = torch.where(overlaps > 0, overlaps, -far / (1 + far))
    taken = []
    for row in fitness:
        best = int(row.argmax())
        taken.append(best)
        fitness[:, best] = -2
    return torch.tensor(taken, dtype=torch.int64, device=boxes.device)
