"""Classifiers of torchvision, all random but the last layer: auto layers, fit, export, parity."""

import math
from pathlib import Path

import pytest
import torch
from scipy.stats import betabinom
from torch import nn
from torchvision.models import get_model

from export import ExportSettings, export_bundle
from export.settings import Format
from guard.guarded import GuardedClassifier
from offline.datasets import ArrayImages
from offline.fitting import FitSettings, fit_deep_validation
from offline.fitting.calibration import LEAST_SPREAD

CLASSES = ("rows", "columns", "checks")
SIZE = 64


def blocks(prefix: str, counts: dict[str, int]) -> list[str]:
    """Name the members of a network's stages; a stage that is one block counts 0."""
    return [
        f"{prefix}{stage}{f'.{block}' if count else ''}"
        for stage, count in counts.items()
        for block in range(max(1, count))
    ]


def features(*counts: int) -> list[str]:
    return blocks("features.", {str(stage): count for stage, count in enumerate(counts)})


DENSE = ["pool0", *(f"{kind}{at}" for at in (1, 2, 3) for kind in ("denseblock", "transition"))]
NETWORKS = {
    "resnet18": ["maxpool", *blocks("layer", dict.fromkeys("1234", 2))],
    "mobilenet_v3_small": [*features(*[0] * 13), "classifier.2"],
    "efficientnet_b0": features(0, 0, 2, 2, 3, 3, 4, 0, 0),
    "convnext_tiny": features(0, 3, 0, 3, 0, 9, 0, 3),
    "vit_b_16": ["encoder.dropout", *(f"encoder.layers.encoder_layer_{at}" for at in range(12))],
    "densenet121": [f"features.{name}" for name in (*DENSE, "denseblock4")],
    "swin_t": features(0, 2, 0, 2, 0, 6, 0, 2),
}  # fmt: skip


FORMATS: tuple[Format, ...] = ("torchscript", "torch_export")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_torchvision_fits_and_exports(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)  # torchvision's initial weights
    size = {"image_size": SIZE} if name == "vit_b_16" else {}
    fit_set, test_set = textures(60, seed=0), textures(40, seed=2)
    model = get_model(name, weights=None, num_classes=3, **size).eval()
    learn(model, fit_set)
    detector = fit_deep_validation(model, fit_set, textures(60, seed=1), FitSettings(), seed=0)
    assert detector.layers == ("input", *NETWORKS[name], "energy")

    guarded = GuardedClassifier(model, detector).eval()
    with torch.no_grad():
        clean = guarded(test_set.fetch(torch.arange(40)))
    assert torch.isfinite(clean.discrepancy).all()
    # No layer is blind: clean images differ by more than what calibration takes for rounding.
    assert clean.discrepancy.std(0).min() > LEAST_SPREAD
    assert int((~clean.valid).sum()) <= most_alarms(40, calibration=40)

    manifest = export_bundle(
        guarded,
        tmp_path / "bundle",
        class_names=CLASSES,
        images=test_set,
        data_fingerprint=fit_set.fingerprint(),
        settings=ExportSettings(formats=FORMATS),
    )
    assert manifest.layer_names == detector.layers
    assert set(manifest.parity) == {"model.onnx", "model.ts", "model.pt2"}
    for places in manifest.parity.values():
        for agreement in places.values():
            assert agreement.images == 40
            assert agreement.ties == 0
            assert max(agreement.logits, agreement.score) <= agreement.tolerance


def most_alarms(images: int, calibration: int) -> int:
    """Return how many of clean images alarm at most, but for one draw in 10,000.

    Of exchangeable scores, those above the k-th of n calibrated ones follow a beta-binomial law.
    Two thirds of the calibration set are those n; the others set the joint.
    """
    rate = FitSettings().false_alarm_rate
    rank = math.ceil((calibration + 1) * (1 - rate))
    return int(betabinom.ppf(1 - 1e-4, images, calibration + 1 - rank, rank))


def textures(count: int, seed: int) -> ArrayImages:
    """Draw waves along rows, along columns or along both, of any phase and colour, with noise."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % len(CLASSES)
    phase = 2 * math.pi * torch.rand(count, 2, 1, generator=draw)
    rows, columns = torch.sin(torch.linspace(0, 6 * math.pi, SIZE) + phase).unbind(1)
    rows, columns = rows[:, :, None].expand(-1, -1, SIZE), columns[:, None].expand(-1, SIZE, -1)
    waves = torch.stack([rows, columns, rows * columns], 1)[torch.arange(count), labels]
    colour = 0.3 + 0.7 * torch.rand(count, 3, 1, 1, generator=draw)
    noise = 0.1 * torch.randn(count, 3, SIZE, SIZE, generator=draw)
    pixels = (0.5 + 0.4 * waves[:, None] * colour + noise).clamp(0, 1)
    return ArrayImages((255 * pixels).to(torch.uint8), labels, CLASSES)


def learn(model: nn.Module, fit_set: ArrayImages) -> None:
    """Fit the last layer by ridge regression; the layers before it stay random.

    Batch norms first take their statistics from the images: with those that they start from,
    activations fade by ten and more orders of magnitude through MobileNet and EfficientNet.
    """
    images = fit_set.fetch(torch.arange(len(fit_set)))
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    inputs: list[torch.Tensor] = []
    with torch.no_grad():
        for norm in norms:
            norm.momentum = None  # the mean over all batches, of which there is one
            norm.reset_running_stats()
            norm.train()
        model(images)
        model.eval()
        handle = head.register_forward_hook(lambda _, given, __: inputs.append(given[0]))
        model(images)
        handle.remove()
        mean = inputs[0].double().mean(0)
        centred = inputs[0].double() - mean
        kernel = centred @ centred.T
        wanted = nn.functional.one_hot(fit_set.labels).double() - 1 / 3
        ridge = 1e-3 * kernel.trace() / len(kernel) * torch.eye(len(kernel))
        weight = 10 * wanted.T @ torch.linalg.solve(kernel + ridge, centred)
        head.weight.copy_(weight)
        head.bias.copy_(-weight @ mean)
