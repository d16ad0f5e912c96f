"""Probes: which layers are watched, and how an activation becomes a short vector of features."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from guard.errors import BadInput, nearest

__all__ = [
    "ENERGY",
    "INPUT",
    "Flatten",
    "Grid",
    "Standardisation",
    "Statistics",
    "UnitLength",
    "Whitening",
    "require_layers",
    "watch",
]

INPUT = "input"
"""The name of probe zero: the image itself."""

ENERGY = "energy"
"""The name of the last probe: the logits, of which the energy is taken."""


def require_layers(model: nn.Module, layers: Sequence[str]) -> None:
    """Refuse a layer that the model does not have.

    Raises:
        BadInput: a name is neither `input`, `energy` nor one of `model.named_modules()`, or is
            given twice.
    """
    known = [INPUT, ENERGY, *(name for name, _ in model.named_modules() if name)]
    for layer in layers:
        if layer not in known:
            raise BadInput(f"the model has no layer {layer!r}{nearest(layer, known)}")
    if len(set(layers)) < len(layers):
        raise BadInput(f"layers: a layer is named twice in {', '.join(layers)}")


@contextmanager
def watch(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield a dictionary that fills with the outputs of `layers` while the model runs.

    A layer that runs several times in one forward keeps its last output, and the dictionary is in
    the order of those last runs. Hooks are ordinary forward
    hooks, so they are followed by `torch.export` (not strict) and `torch.jit.trace`. `input` and
    `energy` are the caller's to add: the model's argument and result are no module's output.

    Outputs are kept as the layer gave them: a ReLU(inplace=True) behind it, or a `+=`, works on
    other memory, and a model that works in place on its images leaves the caller's alone. An ONNX
    graph has no work in place, hence pays nothing for that.

    Raises:
        BadInput: the model has no such layer.
    """
    require_layers(model, layers)
    activations: dict[str, Any] = {}

    def spare(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(_copy(value) for value in inputs)

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            activations.pop(name, None)  # so that the order is that of the last calls
            activations[name] = _copy(output)

        return hook

    handles = [
        model.register_forward_pre_hook(spare),
        *(
            model.get_submodule(name).register_forward_hook(keep(name))
            for name in layers
            if name not in (INPUT, ENERGY)
        ),
    ]
    try:
        yield activations
    finally:
        for handle in handles:
            handle.remove()


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


class Flatten(nn.Module):
    """Every value, as the thesis does it: [batch, …] to [batch, feature]."""

    def forward(self, activation: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch feature"]:
        return activation.flatten(1)


class Grid(nn.Module):
    """Means over a `size` x `size` grid of cells; flat activations and tokens pass as they are.

    [batch, channel, height, width] becomes [batch, channel * size²].
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, activation: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch feature"]:
        if activation.ndim != 4:
            return activation.flatten(1)
        return functional.adaptive_avg_pool2d(activation, self.size).flatten(1)


class Statistics(nn.Module):
    """Mean, root mean square and maximum of each channel over space.

    [batch, channel, height, width], or tokens [batch, token, channel] with `channel_axis` 2,
    becomes [batch, 3 * channel]; [batch, feature] passes as it is. The root mean square is at least
    1e-5. With the mean it says what the standard deviation says, without a second pass over the
    centred map, and without the digits that their difference would lose.
    """

    def __init__(self, channel_axis: int = 1) -> None:
        super().__init__()
        self.channel_axis = channel_axis

    def forward(self, activation: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch feature"]:
        if activation.ndim == 2:
            return activation
        space = [axis for axis in range(1, activation.ndim) if axis != self.channel_axis]
        # One reduction over all of space: ONNX Runtime then reads each channel in one stretch, ten
        # times as fast as over one axis after the other. A product, because a power is slower.
        mean = activation.mean(space, keepdim=True)
        square = (activation * activation).mean(space, keepdim=True)
        # Not the square plus a small constant, against the root's infinite gradient at 0: exporters
        # drop it as zero.
        parts = [mean, square.clamp(min=1e-10).sqrt(), activation.amax(space, keepdim=True)]
        return torch.cat(parts, dim=self.channel_axis).flatten(1)


class UnitLength(nn.Module):
    """The features of another reduction, divided by their length, and that length's logarithm.

    [batch, …] becomes [batch, feature + 1]. The length of a late layer's features says how sure the
    network is and varies more within a class than anything else: an image that the network hardly
    recognises has short ones, near the middle of every class. What is divided by it shows which
    channels answer, whatever the strength ("Mahalanobis++", Müller and Hein 2025); the logarithm
    keeps the strength for those layers where it matters. A length below 1e-6 counts as that.
    """

    def __init__(self, reduction: nn.Module) -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, activation: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch feature"]:
        features: Tensor = self.reduction(activation)
        length = torch.linalg.vector_norm(features, dim=1, keepdim=True).clamp(min=1e-6)
        return torch.cat([features / length, length.log()], dim=1)


class Standardisation(nn.Module):
    """Shift and scale each feature: (features - mean) * scale."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Float[Tensor, " feature"], scale: Float[Tensor, " feature"]) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch feature"]:
        return (features - self.mean) * self.scale


class Whitening(nn.Module):
    """Shift, turn and scale features so that they are uncorrelated: (features - mean) @ matrix."""

    mean: Tensor
    matrix: Tensor

    def __init__(
        self, mean: Float[Tensor, " feature"], matrix: Float[Tensor, "feature component"]
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("matrix", matrix)

    def forward(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch component"]:
        return (features - self.mean) @ self.matrix
