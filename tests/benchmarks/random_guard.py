"""A guarded network of random weights whose answers differ from image to image.

As torchvision initialises them, networks call every image the same, with features that differ by
less than rounding: nothing could be learned from whether an exported file says the same. Here the
running statistics, the head, the whitening, the joint and the threshold are set on photographs, so
that labels are many, features have unit variance, and about half of the images are valid.
"""

import torch
from jaxtyping import Float
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock, Bottleneck

from guard.deep_validation import StandardisedSum
from guard.guarded import GuardedClassifier
from guard.probes import Whitening
from guard.validators import Validator
from offline.fitting import FitSettings
from offline.fitting.features import activations_of
from tests.benchmarks.random_detector import random_detector

__all__ = ["photographs", "random_guard"]

RESIDUAL = 0.2
"""The scale of the last norm in a branch."""

SMALLEST = 32
"""Pixels to a side of the smallest crop."""


def photographs(count: int, side: int, seed: int) -> Float[Tensor, "count 3 side side"]:
    """Cut squares of any size from scikit-learn's two photographs, scaled to `side` pixels."""
    whole = [
        torch.from_numpy(image.copy()).permute(2, 0, 1) for image in load_sample_images().images
    ]
    draw = torch.Generator().manual_seed(seed)

    def between(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=draw))

    crops = []
    for _ in range(count):
        photograph = whole[between(0, len(whole) - 1)]
        height, width = photograph.shape[1:]
        size = between(SMALLEST, min(height, width))
        top, left = between(0, height - size), between(0, width - size)
        crop = photograph[None, :, top : top + size, left : left + size].float() / 255
        crops.append(functional.interpolate(crop, (side, side), mode="bilinear", antialias=True))
    return torch.cat(crops).clamp(0, 1)


@torch.no_grad()
def random_guard(
    model: nn.Module, images: Float[Tensor, "b c h w"], settings: FitSettings
) -> GuardedClassifier:
    """Guard a model with `random_detector`; both are changed as said above, by these images.

    Args:
        model: ends with a linear layer.
        images: a hundred or so, not those that are asked about afterwards.
        settings: of the detector's sizes; features are whitened.
    """
    _settle_statistics(model, images)
    _spread_logits(model, images)
    detector = random_detector(model, images[:2], settings)
    classes = len(detector.offset)
    seen, labels = activations_of(model, images, detector.layers, classes)
    for validator in detector.validators:
        if isinstance(validator, Validator) and isinstance(validator.scaling, Whitening):
            features = validator.reduction(seen[validator.layer])
            validator.scaling.mean.copy_(features.mean(0))
            validator.scaling.matrix.div_(validator.scaling(features).std(0))
    discrepancy = detector(seen, labels).discrepancy
    median, high = discrepancy.quantile(torch.tensor([0.5, 0.99]), dim=0)
    shift, scale = (row.unsqueeze(1).repeat(1, classes) for row in (median, 1 / (high - median)))
    detector.joining = StandardisedSum(shift, scale, torch.ones(len(median)))
    scores = detector.joint(discrepancy, labels)
    detector.threshold = scores.median().unsqueeze(0)
    detector.false_alarm_rate = 0.5
    # As many scores as a real calibration set has: they are compared with each image's, and stored.
    detector.calibration = scores.quantile(torch.linspace(0, 1, len(detector.calibration)))
    return GuardedClassifier(model, detector).eval()


def _settle_statistics(model: nn.Module, images: Tensor) -> None:
    """Set the batch norms' running statistics to those of the images.

    A deep residual network of random weights doubles rounding errors every few blocks, which no
    trained one does: in float32 the module itself would be wrong by more than parity allows. As in
    training (Goyal et al. 2017), the residual branches begin small.
    """
    for block in model.modules():
        if isinstance(block, Bottleneck):
            block.bn3.weight.fill_(RESIDUAL)
        elif isinstance(block, BasicBlock):
            block.bn2.weight.fill_(RESIDUAL)
        elif getattr(block, "use_res_connect", False):  # inverted residuals
            norms = [part for part in block.modules() if isinstance(part, nn.BatchNorm2d)]
            norms[-1].weight.fill_(RESIDUAL)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean, of one batch
        norm.train()
    model(images)
    model.eval()


def _spread_logits(model: nn.Module, images: Tensor) -> None:
    """Draw the head's weights (some are 0) and standardise each logit over the images."""
    head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    nn.init.normal_(head.weight, std=head.in_features**-0.5)
    nn.init.zeros_(head.bias)
    logits = model(images)
    head.bias.copy_(-logits.mean(0) / logits.std(0))
    head.weight.div_(logits.std(0).unsqueeze(1))
