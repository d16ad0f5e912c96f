"""What a model says about images: labels and confidences, a batch at a time."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from offline.models import device_of

__all__ = ["Predictions", "predict"]


class Predictions(NamedTuple):
    """Predicted labels [n] and the softmax probability of each [n], on the CPU."""

    labels: Int64[Tensor, " n"]
    confidences: Float[Tensor, " n"]


def predict(
    model: nn.Module, images: Float[Tensor, "n c h w"], batch_size: int = 256
) -> Predictions:
    """Classify images in [0, 1]; the model is put into eval mode and left there."""
    model.eval()
    device = device_of(model)
    with torch.inference_mode():
        return _joined(_classify(model, piece.to(device)) for piece in images.split(batch_size))


def _classify(model: nn.Module, images: Tensor) -> Predictions:
    confidences, labels = model(images).softmax(dim=1).max(dim=1)
    return Predictions(labels.cpu(), confidences.cpu())


def _joined(parts: Iterable[Predictions]) -> Predictions:
    labels, confidences = zip(*parts, strict=True)
    return Predictions(torch.cat(labels), torch.cat(confidences))
