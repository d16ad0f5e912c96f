"""Random networks that are guarded on blotches, each class seen by construction."""

import torch
from torch import nn

from guard.guarded import GuardedClassifier
from offline.datasets import ArrayImages
from offline.fitting import FitSettings, fit_deep_validation

CLASSES = ("a", "b", "c", "d", "e")


def noise(shape: tuple[int, int, int], count: int, seed: int) -> torch.Tensor:
    """Blotches: noise at an eighth of the size, enlarged, so that layers have something to see."""
    draw = torch.Generator().manual_seed(seed)
    small = torch.rand(count, shape[0], shape[1] // 4, shape[2] // 4, generator=draw)
    return (nn.functional.interpolate(small, shape[1:], mode="bilinear") * 255).to(torch.uint8)


def fitted(
    model: nn.Module, shape: tuple[int, int, int], settings: FitSettings, classes: int = 5
) -> tuple[GuardedClassifier, ArrayImages]:
    """Fit on what a random model itself says, with its last bias moved so that it says it all."""
    pixels = noise(shape, 400, 0)
    model.eval()
    head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        logits = model(pixels.float() / 255)
        # Each logit standardised over the images: then every class is the largest somewhere.
        deviation = logits.std(0)
        head.bias.copy_((head.bias - logits.mean(0)) / deviation)
        head.weight.div_(deviation.unsqueeze(1))
        labels = model(pixels.float() / 255).argmax(1)
    images = ArrayImages(pixels, labels, tuple("abcdefghij"[:classes]))
    detector = fit_deep_validation(model, images, images, settings, 0)
    return GuardedClassifier(model, detector).eval(), images


FEW = FitSettings(jobs=1, max_per_class=40, false_alarm_rate=0.3)
