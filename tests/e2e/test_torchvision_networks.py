"""Classifiers of torchvision, all random but the last layer: auto layers, fit, export, parity."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from export import export_bundle
from guard.guarded import GuardedClassifier
from offline.datasets import ArrayImages
from offline.fitting import FitSettings, fit_deep_validation

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


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_torchvision_fits_and_exports(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)  # torchvision's initial weights
    size = {"image_size": SIZE} if name == "vit_b_16" else {}
    fit_set, test_set = textures(90, seed=0), textures(40, seed=2)
    model = get_model(name, weights=None, num_classes=3, **size).eval()
    learn(model, fit_set)
    # Not whitened: for 768 channels, 2,304 statistics, that takes seconds for every layer.
    # Nor is the energy joined: an untrained network is as sure of noise as of anything.
    settings = FitSettings(scaling="standardise", joint="sum", jobs=2, false_alarm_rate=0.1)
    detector = fit_deep_validation(model, fit_set, textures(60, seed=1), settings, seed=0)
    assert detector.layers == ("input", *NETWORKS[name])

    guarded = GuardedClassifier(model, detector).eval()
    noise = torch.rand(40, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        clean, strange = guarded(test_set.fetch(torch.arange(40))), guarded(noise)
    assert clean.valid.float().mean() > 0.6
    auc = (strange.score.unsqueeze(1) > clean.score).float().mean()
    assert auc > 0.8
    # No layer is blind: it tells one clean image from another, and noise from all of them.
    assert clean.discrepancy.std(0).min() > 0.01
    assert (strange.discrepancy.mean(0) - clean.discrepancy.mean(0)).min() > 0.02

    formats = ("torchscript", "torch_export")
    manifest = export_bundle(
        guarded,
        tmp_path / "bundle",
        class_names=CLASSES,
        images=test_set,
        data_fingerprint=fit_set.fingerprint(),
        formats=formats,
    )
    assert manifest.layer_names == detector.layers
    assert set(manifest.parity) == {"model.onnx", "model.ts", "model.pt2"}
    for agreement in manifest.parity.values():
        assert agreement.images == 40
        assert agreement.ties == 0
        assert max(agreement.logits, agreement.score) < 1e-4


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
