"""The bundles that the benchmarks of the server serve: ResNet-18 at 224 x 224, the CIFAR network.

Both have random weights, made to answer differently from image to image
(`tests.benchmarks.random_guard`): what serving costs depends on sizes, not on values.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torchvision.models import resnet18

from export.bundle import export_bundle
from guard.bundle import load_bundle
from offline.fitting import FitSettings
from offline.networks import small_resnet
from tests.benchmarks.random_guard import photographs, random_guard
from tests.benchmarks.subjects import CIFAR_NETWORK

__all__ = ["ModelName", "ServedModel", "make_served_model"]

ModelName = Literal["resnet18", "cifar"]
SETTLING, ASKED = 128, 64
"""Photographs that the guard is set by, and those that are asked about."""


class _Network(NamedTuple):
    build: Callable[[], nn.Module]
    classes: int
    side: int
    settings: FitSettings


NETWORKS: dict[ModelName, _Network] = {
    "resnet18": _Network(resnet18, 1000, 224, FitSettings(last_blocks=4, components=64)),
    "cifar": _Network(lambda: small_resnet(10, **CIFAR_NETWORK), 10, 32, FitSettings()),
}


class ServedModel(NamedTuple):
    """A bundle, its graph, and images to ask about: float32 `[64, 3, side, side]`, `.npy`."""

    name: ModelName
    bundle: Path
    graph: Path
    images: Path


def make_served_model(name: ModelName, folder: Path) -> ServedModel:
    """Build, guard and export one of the networks into `folder`."""
    network = NETWORKS[name]
    torch.manual_seed(0)
    pixels = photographs(SETTLING + ASKED, network.side, seed=1).mul(255).round().byte()
    settling, asked = pixels[:SETTLING].float() / 255, pixels[SETTLING:]
    guarded = random_guard(network.build().eval(), settling, network.settings)
    names = tuple(f"class {index}" for index in range(network.classes))
    bundle, images = folder / name, folder / f"{name}.npy"
    export_bundle(
        guarded,
        bundle,
        class_names=names,
        images=_Photographs(asked.float() / 255),
        data_fingerprint="0" * 64,
    )
    np.save(images, asked.float().div(255).numpy())
    return ServedModel(name, bundle, load_bundle(bundle).onnx_path(), images)


class _Photographs:
    """What export compares on."""

    def __init__(self, images: Float[Tensor, "n c h w"]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def fetch(self, indices: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        return self.images[indices]
