"""A detector as it is exported: what its layers do alike is done for several at once.

On one image most of what a detector costs is the count of its nodes, not their work.
"""

import copy
from collections.abc import Hashable, Sequence
from itertools import groupby
from typing import TypeGuard, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from guard.deep_validation import DeepValidation
from guard.guarded import GuardedClassifier
from guard.one_class_svm import log_ratio
from guard.probes import UnitLength, Whitening
from guard.validators import DistanceValidator, Validator

__all__ = ["SHARED", "StackedValidation", "stacked"]

SHARED = ("length", "centres", "vectors", "offsets")
"""The tables of a stack, with an axis of its layers behind the first."""


def stacked(guarded: GuardedClassifier) -> GuardedClassifier:
    """Return a twin that says the same, but for rounding, by a `StackedValidation`.

    The model is shared; the tables of the detector are copied.
    """
    twin = copy.copy(guarded)
    twin._modules = {**guarded._modules, "detector": StackedValidation(guarded.detector)}
    return twin


class StackedValidation(DeepValidation):
    """A detector whose whitened layers are asked together where their sizes are equal.

    That goes for neighbours, so that discrepancies come in order. What is not whitened stays a
    validator of its own.

    Attributes:
        stacks: by the indices of the layers, `1_2_3` of three, `0` of one.
    """

    def __init__(self, detector: DeepValidation) -> None:
        validators = list(detector.validators)
        super().__init__(validators)  # type: ignore[arg-type]
        for name, buffer in detector.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        self.joining, self.false_alarm_rate = detector.joining, detector.false_alarm_rate
        self.validators, self.stacks = nn.ModuleList(), nn.ModuleDict()
        self._members: list[list[int]] = []
        for _, group in groupby(range(len(validators)), lambda at: _kind(at, validators[at])):
            members = list(group)
            one = validators[members[0]]
            self.stacks["_".join(map(str, members))] = (
                _Stack([validators[at] for at in members])  # type: ignore[misc]
                if _is_whitened(one)
                else one
            )
            self._members.append(members)
        self.eval()

    def discrepancies(
        self, activations: Sequence[Tensor], label: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "batch layer"]:
        """Return what each single validator says of its layer's activation."""
        columns = []
        for members, stack in zip(self._members, self.stacks.values(), strict=True):
            seen = [activations[at] for at in members]
            together = isinstance(stack, _Stack)
            columns.append(stack(seen, label) if together else stack(*seen, label).unsqueeze(1))
        return torch.cat(columns, dim=1)


class _Stack(nn.Module):
    """The single validators of whitened layers of one size.

    For features x of length l, the whitening's mean μ and matrix [M; m], m the row of log l, and a
    class's centre c, a point is xM / l + log(l) m - (μ[M; m] + c). So only the short product is
    divided by the length, and mean and centre are one table.

    Attributes:
        matrix_N: [feature, component], of layer N of the stack, without m.
        length: [1, layer, component], m.
        centres: [class, layer, component].
        vectors: [class, layer, vector, component + 2].
        offsets: [class, layer].
    """

    length: Tensor
    centres: Tensor
    vectors: Tensor
    offsets: Tensor

    def __init__(self, validators: Sequence[Validator]) -> None:
        super().__init__()
        first = validators[0]
        self.by_length = isinstance(first.reduction, UnitLength)
        self.by_distance = isinstance(first, DistanceValidator)
        self.reductions = nn.ModuleList(_unscaled(one.reduction) for one in validators)
        matrices = [_whitening(one).matrix for one in validators]
        if self.by_length:
            self.register_buffer("length", torch.stack([one[-1:] for one in matrices], 1))
            matrices = [one[:-1].contiguous() for one in matrices]
        for at, matrix in enumerate(matrices):
            self.register_buffer(f"matrix_{at}", matrix)
        self.register_buffer("centres", torch.stack([_centres(one) for one in validators], 1))
        self.register_buffer("vectors", torch.stack([one.svms.vectors for one in validators], 1))
        if self.by_distance:
            offsets = [one.svms.offsets for one in validators]
            self.register_buffer("offsets", torch.stack(offsets, 1))

    def forward(
        self, activations: Sequence[Tensor], label: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "batch layer"]:
        """Return the discrepancies under the predicted class, positive for outliers."""
        reduced = [one(seen) for one, seen in zip(self.reductions, activations, strict=True)]
        features = [one.unflatten(1, (1, -1)) for one in reduced]
        products = [one @ self.get_buffer(f"matrix_{at}") for at, one in enumerate(features)]
        points = torch.cat(products, dim=1)
        if self.by_length:
            lengths = [torch.linalg.vector_norm(one, dim=2, keepdim=True) for one in features]
            length = torch.cat(lengths, dim=1).clamp(min=1e-6)
            points = points / length + length.log() * self.length
        ratio = log_ratio(
            points - self.centres.index_select(0, label), self.vectors.index_select(0, label)
        )
        return -(ratio.expm1() * self.offsets.index_select(0, label) if self.by_distance else ratio)


def _kind(at: int, validator: nn.Module) -> Hashable:
    """Return what neighbours of one stack have in common."""
    if not _is_whitened(validator):
        return at
    by_length = isinstance(validator.reduction, UnitLength)
    return type(validator), by_length, validator.svms.vectors.shape


def _is_whitened(validator: nn.Module) -> TypeGuard[Validator]:
    kinds = (Validator, DistanceValidator)  # not what is derived of them, and may do otherwise
    return type(validator) in kinds and isinstance(validator.scaling, Whitening)


def _whitening(validator: Validator) -> Whitening:
    return cast(Whitening, validator.scaling)


def _unscaled(reduction: nn.Module) -> nn.Module:
    return reduction.reduction if isinstance(reduction, UnitLength) else reduction


def _centres(validator: Validator) -> Float[Tensor, "class component"]:
    """Return the classes' centres where whitening does not first subtract its mean."""
    scaling, centres = _whitening(validator), validator.svms.centres
    mean = scaling.mean.cpu().double() @ scaling.matrix.cpu().double()
    return (centres.cpu().double() + mean).to(centres)
