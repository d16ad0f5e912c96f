"""SqueezeDet: one small, fully convolutional network from an image to boxes and classes.

Wu, Iandola, Jin, Keutzer 2016, "SqueezeDet: Unified, Small, Low Power Fully Convolutional Neural
Networks for Real-Time Object Detection for Autonomous Driving" (arXiv 1612.01051). It departs from
the paper in what the paper's start from ImageNet's weights made possible: trained from nothing, the
convolutions are followed by batch normalisation, and confidences start at 0.01.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image

from guard.errors import BadInput
from offline.detection.anchors import anchor_grid, assign, decode, encode
from offline.detection.detector import Detector, Found, Truth, check_truths

__all__ = ["KITTI_SHAPES", "LossWeights", "Predictions", "SqueezeDet"]

KITTI_SHAPES = (
    (36.0, 37.0), (366.0, 174.0), (115.0, 59.0), (162.0, 87.0), (38.0, 90.0), (258.0, 173.0),
    (224.0, 108.0), (78.0, 170.0), (72.0, 43.0),
)  # fmt: skip
"""The paper's anchors, fitted to KITTI at 384 x 1248 pixels."""
FIRE = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256),
        (96, 384), (96, 384))  # fmt: skip
"""Fire modules 2 to 11: channels squeezed to, and of each half of what they expand to."""
FIRST_CONFIDENCE = 0.01
MOST_CERTAIN = 1 - 1e-6  # in the logarithm of what is left to 1


class LossWeights(NamedTuple):
    """λ of equation 2, as the paper has them."""

    box: float = 5.0
    object: float = 75.0
    empty: float = 100.0


class Predictions(NamedTuple):
    """What the network says of each anchor."""

    classes: Float[Tensor, "batch anchor class"]
    """Logits of the conditional class probabilities."""
    confidence: Float[Tensor, "batch anchor"]
    """In [0, 1]: an estimate of Pr(object) · IOU."""
    deltas: Float[Tensor, "batch anchor 4"]
    """As `encode` gives them."""


class SqueezeDet(Detector):
    """SqueezeNet's trunk, two more fire modules, and ConvDet: a convolution that predicts boxes.

    Args:
        classes: the names of the classes.
        size: height and width of the images, multiples of `stride`.
        shapes: width and height in pixels of the anchors of a cell; `fit_shapes` fits them.
        width: factor on the channels of every layer; 1 is the paper's network.
        stride: pixels to a cell of the grid, 16 in the paper. With 8, for small images, the trunk
            goes without its last pooling.
        batch_norm: after each convolution of the trunk; the paper's network has none.
        dropout: probability, before ConvDet.
        weights: of the parts of the loss.
        most: how many anchors of an image, those of the highest scores, become boxes.
        overlap: the IOU above which a box of the same class is suppressed by a more certain one.

    Raises:
        BadInput: the size is no multiple of the stride, or the stride is neither 8 nor 16.
    """

    anchors: Tensor

    def __init__(
        self,
        classes: tuple[str, ...],
        size: tuple[int, int] = (384, 1248),
        shapes: tuple[tuple[float, float], ...] = KITTI_SHAPES,
        *,
        width: float = 1.0,
        stride: int = 16,
        batch_norm: bool = True,
        dropout: float = 0.5,
        weights: LossWeights | None = None,
        most: int = 64,
        overlap: float = 0.4,
    ) -> None:
        super().__init__()
        if stride not in (8, 16) or size[0] % stride or size[1] % stride:
            raise BadInput(
                f"images of {size[0]} x {size[1]} pixels at stride {stride}: a stride of 8 or 16 "
                "is wanted, and multiples of it"
            )
        self.classes, self.size = classes, size
        self.weights = weights or LossWeights()
        self.most, self.overlap = most, overlap
        self.trunk = _trunk(width, stride, batch_norm)
        channels = 2 * round(FIRE[-1][1] * width)
        self.dropout = nn.Dropout(dropout)
        self.convdet = nn.Conv2d(channels, len(shapes) * (len(classes) + 5), 3, padding=1)
        self.register_buffer(
            "anchors", anchor_grid(size[0] // stride, size[1] // stride, stride, shapes)
        )
        _initialise(self, len(classes))

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Predictions:
        """Return what each anchor predicts.

        Raises:
            BadInput: the images are of another size.
        """
        if tuple(images.shape[2:]) != self.size:
            given = " x ".join(map(str, images.shape[2:]))
            raise BadInput(f"images of {given} pixels; this detector takes {self.size}")
        out = self.convdet(self.dropout(self.trunk((images - 0.45) / 0.225)))
        out = out.permute(0, 2, 3, 1).reshape(len(images), len(self.anchors), -1)
        kinds, confidence, deltas = out.split((len(self.classes), 1, 4), dim=2)
        return Predictions(kinds, confidence[..., 0].sigmoid(), deltas)

    def losses(
        self, images: Float[Tensor, "batch 3 height width"], truths: Sequence[Truth]
    ) -> dict[str, Float[Tensor, " batch"]]:
        """Return equation 2's three parts, λ included, each image with its own N_obj.

        The IOU that a confidence is to reach is a target, and held constant, as in the authors'
        code. An image without objects has the loss of its empty anchors alone.

        Raises:
            BadInput: as `check_truths`, or the images are of another size.
        """
        check_truths(images, truths, self.classes)
        kinds, confidence, deltas = self(images)
        chosen = [assign(truth.boxes, self.anchors) for truth in truths]
        counts = torch.tensor([len(each) for each in chosen], device=images.device)
        boxes = torch.cat([truth.boxes for truth in truths])
        labels = torch.cat([truth.labels for truth in truths])
        at = (torch.arange(len(images), device=images.device).repeat_interleave(counts),
              torch.cat(chosen))  # fmt: skip
        anchors, own = self.anchors[at[1]], deltas[at]

        def mean(values: Tensor) -> Tensor:
            """Average over the objects of each image."""
            sums = values.new_zeros(len(images)).index_add(0, at[0], values)
            return sums / counts.clamp_min(1)

        reached = box_iou(decode(own.detach(), anchors), boxes).diagonal()
        empty = torch.ones_like(confidence).index_put(at, confidence.new_zeros(()))
        wrong = (confidence.square() * empty).sum(dim=1) / empty.sum(dim=1).clamp_min(1)
        right = mean((confidence[at] - reached).square())
        return {
            "box": self.weights.box * mean((own - encode(boxes, anchors)).square().sum(dim=1)),
            "confidence": self.weights.object * right + self.weights.empty * wrong,
            "classification": mean(functional.cross_entropy(kinds[at], labels, reduction="none")),
        }

    def doubt(
        self, images: Float[Tensor, "batch 3 height width"], truths: Sequence[Truth]
    ) -> Float[Tensor, " batch"]:
        """Return how certain the anchors are that err, less those that find an object.

        The sum of -log(1 - score), which is about the logit where it is certain, over each class at
        each anchor: positive where the box has an IOU below 0.5 with every object of that class,
        negative elsewhere; over the number of objects. So the confidence of each anchor counts,
        where the loss of training holds one anchor responsible for an object: those beside it find
        the object still when that one fails. And a trained confidence is near its IOU, above or
        below it: the loss of training rises as well where it becomes more certain. Boxes are held
        constant.
        """
        check_truths(images, truths, self.classes)
        kinds, confidence, deltas = self(images)
        boxes = decode(deltas.detach(), self.anchors.expand_as(deltas))
        scores = kinds.softmax(dim=2) * confidence[..., None]
        certain = -torch.log1p(-scores.clamp_max(MOST_CERTAIN))
        numbers = torch.arange(len(self.classes), device=images.device)
        values = []
        for row, places, truth in zip(certain, boxes, truths, strict=True):
            fits = (box_iou(places, truth.boxes) >= 0.5).to(row)
            finds = fits @ (truth.labels[:, None] == numbers).to(row) > 0
            values.append(torch.where(finds, -row, row).sum() / max(len(truth.labels), 1))
        return torch.stack(values)

    @torch.no_grad()
    def detect(
        self, images: Float[Tensor, "batch 3 height width"], least_score: float = 0.005
    ) -> list[Found]:
        kinds, confidence, deltas = self(images)
        scores, labels = (kinds.softmax(dim=2) * confidence[..., None]).max(dim=2)
        boxes = clip_boxes_to_image(decode(deltas, self.anchors.expand_as(deltas)), self.size)
        found = []
        for i in range(len(images)):
            best = scores[i].topk(min(self.most, len(self.anchors))).indices
            best = best[scores[i, best] >= least_score]
            kept = batched_nms(boxes[i, best], scores[i, best], labels[i, best], self.overlap)
            best = best[kept]
            found.append(Found(boxes[i, best], labels[i, best], scores[i, best]))
        return found


class Fire(nn.Module):
    """Squeezes channels by 1x1 convolutions, then expands them by 1x1 and 3x3 ones side by side."""

    def __init__(self, inside: int, squeezed: int, expanded: int, batch_norm: bool) -> None:
        super().__init__()
        self.squeeze = _convolution(inside, squeezed, 1, 1, batch_norm)
        self.expand1 = _convolution(squeezed, expanded, 1, 1, batch_norm)
        self.expand3 = _convolution(squeezed, expanded, 3, 1, batch_norm)

    def forward(self, inputs: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        hidden = self.squeeze(inputs)
        return torch.cat((self.expand1(hidden), self.expand3(hidden)), dim=1)


def _trunk(width: float, stride: int, batch_norm: bool) -> nn.Sequential:
    inside = round(64 * width)
    layers: list[nn.Module] = [_convolution(3, inside, 3, 2, batch_norm)]
    for number, (squeezed, expanded) in enumerate(FIRE):
        if number in (0, 2) or (number == 4 and stride == 16):
            layers.append(nn.MaxPool2d(3, 2, 1))
        expanded = round(expanded * width)
        layers.append(Fire(inside, max(1, round(squeezed * width)), expanded, batch_norm))
        inside = 2 * expanded
    return nn.Sequential(*layers)


def _convolution(inside: int, outside: int, kernel: int, stride: int, norm: bool) -> nn.Sequential:
    layer = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=not norm)
    return nn.Sequential(layer, *([nn.BatchNorm2d(outside)] if norm else []), nn.ReLU())


def _initialise(model: SqueezeDet, classes: int) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.normal_(model.convdet.weight, std=0.001)
    start = torch.zeros(classes + 5)
    start[classes] = math.log(FIRST_CONFIDENCE / (1 - FIRST_CONFIDENCE))
    biases = model.convdet.get_parameter("bias")
    with torch.no_grad():
        biases.copy_(start.repeat(len(biases) // len(start)))
