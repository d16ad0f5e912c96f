"""What every object detector offers, so that an attack does not know which one it is given."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float, Int64, Real
from torch import Tensor, nn

from guard.errors import BadInput

__all__ = ["Detector", "Found", "Truth", "check_truths"]


class Truth(NamedTuple):
    """The objects that one image shows; there may be none."""

    boxes: Float[Tensor, "object 4"]
    """Left, upper, right and lower border (x0, y0, x1, y1) in pixels from the upper left corner."""
    labels: Int64[Tensor, " object"]
    """The class of each object: a number in the detector's `classes`."""


class Found(NamedTuple):
    """What a detector finds in one image, the most certain first."""

    boxes: Float[Tensor, "object 4"]
    """As `Truth.boxes`."""
    labels: Int64[Tensor, " object"]
    scores: Float[Tensor, " object"]
    """In [0, 1]."""


class Detector(nn.Module, ABC):
    """Finds the objects of some classes in images [batch, 3, height, width], RGB in [0, 1].

    In eval mode each image's losses are a function of that image alone, whatever else the batch
    has in it; in training mode batch normalisation and random sampling may join them.

    Attributes:
        classes: the name of each class; a label is an index into it.
    """

    classes: tuple[str, ...]

    @abstractmethod
    def losses(
        self, images: Float[Tensor, "batch 3 height width"], truths: Sequence[Truth]
    ) -> dict[str, Float[Tensor, " batch"]]:
        """Return the losses of each image, whose sum is what training descends.

        Each is differentiable in the images: `box` (where the objects are), `confidence` (whether
        there is an object), `classification` (which). Of a detector that has one score for the last
        two, that is in `confidence`, and `classification` is 0.

        Raises:
            BadInput: as `check_truths`, or the detector does not take images of this size.
        """

    def doubt(
        self, images: Float[Tensor, "batch 3 height width"], truths: Sequence[Truth]
    ) -> Float[Tensor, " batch"]:
        """Return what an attack raises: the confidence loss, or what makes detections wrong surer.

        Raises:
            BadInput: as `losses`.
        """
        return self.losses(images, truths)["confidence"]

    @abstractmethod
    def detect(
        self, images: Float[Tensor, "batch 3 height width"], least_score: float = 0.005
    ) -> list[Found]:
        """Return what is found in each image, after non-maximum suppression; it has no gradient.

        The detector must be in eval mode.
        """


def check_truths(
    images: Real[Tensor, "batch 3 height width"], truths: Sequence[Truth], classes: Sequence[str]
) -> None:
    """Refuse a ground truth that cannot be that of these images.

    Raises:
        BadInput: not one for each image, a box is empty, not finite or reaches out of its image,
            or a label is no number of a class.
    """
    if len(truths) != len(images):
        raise BadInput(f"{len(truths)} ground truths for {len(images)} images; one each is wanted")
    height, width = images.shape[2:]
    for number, (boxes, labels) in enumerate(truths):
        if len(boxes) != len(labels):
            raise BadInput(f"image {number}: {len(boxes)} boxes with {len(labels)} labels")
        x0, y0, x1, y1 = boxes.unbind(1)
        inside = (x0 >= 0) & (y0 >= 0) & (x1 <= width) & (y1 <= height) & (x0 < x1) & (y0 < y1)
        if not bool(inside.all()):  # a comparison with NaN is false
            box = [round(value, 2) for value in boxes[~inside][0].tolist()]
            raise BadInput(
                f"image {number}: box {box}: x0 < x1 within 0 to {width} and y0 < y1 within 0 to "
                f"{height} are wanted"
            )
        wrong = labels[(labels < 0) | (labels >= len(classes))]
        if len(wrong):
            raise BadInput(
                f"image {number}: label {int(wrong[0])}: allowed are 0 to {len(classes) - 1}"
            )
