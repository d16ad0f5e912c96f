"""Deep Validation: probes, discrepancies, joint discrepancy (thesis, section 3.3.2)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from guard.errors import BadInput
from guard.validators import Energy, Validator

__all__ = ["DeepValidation", "StandardisedSum", "Sum", "Validation"]


class Sum(nn.Module):
    """The thesis's joint discrepancy: the sum over layers (equation 3.3)."""

    def forward(
        self, discrepancy: Float[Tensor, "batch layer"], label: Int64[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return the sum of each row."""
        return discrepancy.sum(dim=1)


class StandardisedSum(nn.Module):
    """The sum over layers of weight · asinh((discrepancy - shift) · scale).

    Shift and scale are the predicted class's, set on held-out clean images. The inverse hyperbolic
    sine is linear among clean images and a logarithm far above them: a layer that is beside itself
    is heard, and does not drown the others.

    Attributes:
        shift, scale: [layer, class].
        weights: [layer].
    """

    shift: Tensor
    scale: Tensor
    weights: Tensor

    def __init__(
        self,
        shift: Float[Tensor, "layer class"],
        scale: Float[Tensor, "layer class"],
        weights: Float[Tensor, " layer"],
    ) -> None:
        super().__init__()
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)
        self.register_buffer("weights", weights)

    def forward(
        self, discrepancy: Float[Tensor, "batch layer"], label: Int64[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return the weighted sum of each row."""
        # Not the transposed tables' rows: exporters would fold those into nameless constants.
        shift, scale = (table.index_select(1, label) for table in (self.shift, self.scale))
        return self.weights @ ((discrepancy.T - shift) * scale).asinh()


class Validation(NamedTuple):
    """What Deep Validation says of a batch; the fields are those of `GuardedOutput`."""

    discrepancy: Float[Tensor, "batch layer"]
    score: Float[Tensor, " batch"]
    p_value: Float[Tensor, " batch"]
    valid: Bool[Tensor, " batch"]


class DeepValidation(nn.Module):
    """Joins the discrepancies of several layers and compares them with calibrated scores.

    The score is the joint discrepancy, less the offset of the predicted class, which is 0 as built.
    Joined are layers by `Sum`, as in the thesis, until a calibration brings a `StandardisedSum`, in
    which alone the energy has a place.

    The classes form groups, and each image is compared with the n calibration images of its
    predicted class's group: p_value = (1 + #{calibration scores >= score}) / (n + 1). For a clean
    image exchangeable with the calibration images, P(p_value <= a) <= a for every a, in each group.
    One group of all classes is split conformal calibration; a group for each class is Mondrian, and
    then `offset` moves each class's threshold to 0.

    A score of NaN is never valid, and neither is anything before calibration: a comparison with NaN
    is false.

    Attributes:
        joining: discrepancies to the joint discrepancy.
        offset: [class].
        group: int64 [class].
        calibration: [n], scores of clean images in rising order.
        calibration_group: int64 [n], the group of each.
        threshold: [1]; a score above it is a corner case.
        false_alarm_rate: the share of clean images that may lie above the threshold.
    """

    offset: Tensor
    group: Tensor
    calibration: Tensor
    calibration_group: Tensor
    threshold: Tensor

    def __init__(self, validators: Sequence[Validator | Energy]) -> None:
        super().__init__()
        self.validators = nn.ModuleList(validators)
        self.layers = tuple(validator.layer for validator in validators)
        classes = validators[0].classes
        self.false_alarm_rate = 1.0
        self.joining: Sum | StandardisedSum = Sum()
        self.register_buffer("offset", torch.zeros(classes))
        self.register_buffer("group", torch.zeros(classes, dtype=torch.int64))
        self.register_buffer("calibration", torch.zeros(0))
        self.register_buffer("calibration_group", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("threshold", torch.full((1,), torch.nan))

    def forward(
        self,
        activations: Mapping[str, Tensor],
        label: Int64[Tensor, " batch"],
        threshold: Float[Tensor, "1"] | None = None,
    ) -> Validation:
        """Validate a batch under its predicted labels; `threshold` stands in for the buffer.

        Raises:
            BadInput: a watched layer did not run, or its output is not one tensor per image.
        """
        seen = [_of(activations, name) for name in self.layers]
        discrepancy = self.discrepancies(seen, label)
        score = self.joint(discrepancy, label)
        limit = self.threshold if threshold is None else threshold
        return Validation(discrepancy, score, self.p_value(score, label), score <= limit)

    def discrepancies(
        self, activations: Sequence[Tensor], label: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "batch layer"]:
        """Return what each single validator says of its layer's activation."""
        single = zip(self.validators, activations, strict=True)
        return torch.stack([validator(seen, label) for validator, seen in single], dim=1)

    def joint(
        self, discrepancy: Float[Tensor, "batch layer"], label: Int64[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return the score of each row."""
        joint: Tensor = self.joining(discrepancy, label)
        return joint - self.offset.index_select(0, label)

    def p_value(
        self, score: Float[Tensor, " batch"], label: Int64[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return the conformal p-value of each score in its label's group, in [1 / (n + 1), 1]."""
        compared = self.calibration_group == self.group.index_select(0, label).unsqueeze(1)
        above = compared & (self.calibration >= score.unsqueeze(1))
        higher, all_told = (mask.to(score.dtype).sum(dim=1) for mask in (above, compared))
        return (higher + 1) / (all_told + 1)


def _of(activations: Mapping[str, Tensor], layer: str) -> Tensor:
    if layer not in activations:
        raise BadInput(f"layers: {layer!r} did not run in the model's forward")
    activation = activations[layer]
    if not isinstance(activation, Tensor) or activation.ndim < 2:
        seen = (
            list(activation.shape) if isinstance(activation, Tensor) else type(activation).__name__
        )
        raise BadInput(f"layers: {layer!r} gives {seen}, not a tensor [batch, …]")
    return activation
