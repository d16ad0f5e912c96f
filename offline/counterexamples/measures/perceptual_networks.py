"""The networks that judge how alike images look, with weights from a file or a download."""

import io
import pickle
import re
import struct
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torchmetrics.functional.image.lpips import _NoTrainLpips
from torchmetrics.image.fid import NoTrainInceptionV3
from torchvision.models import AlexNet_Weights, SqueezeNet1_1_Weights, VGG16_Weights

from guard.errors import BadInput, one_line
from offline.counterexamples.measures.realism_settings import LpipsNetwork, WeightsMissing

__all__ = ["InceptionFeatures", "LpipsDistance"]

PATIENCE = 10.0
# What torch.load was seen to raise of 8000 damaged files, none of which ran anything.
UNREADABLE = (
    OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError,
    AssertionError, struct.error, pickle.UnpicklingError, SafetensorError,
)  # fmt: skip
BACKBONES = {
    "alex": AlexNet_Weights.DEFAULT.url,
    "vgg": VGG16_Weights.DEFAULT.url,
    "squeeze": SqueezeNet1_1_Weights.DEFAULT.url,
}


class LpipsDistance(nn.Module):
    """LPIPS of Zhang et al. 2018, version 0.1, of pairs of images; 0 for the same image.

    The weights of the layers come with torchmetrics; those of the backbone, which torchvision
    trained on ImageNet, from a file or the download.
    """

    def __init__(self, network: LpipsNetwork, weights: Path | None) -> None:
        """Load the weights.

        Raises:
            BadInput: `weights` cannot be read, or are not of this backbone.
            WeightsMissing: there are none, and they cannot be downloaded.
        """
        super().__init__()
        self.network = _NoTrainLpips(net=network, pnet_rand=True)
        file, tensors = _tensors(weights, BACKBONES[network])
        # "slice2.3.weight" here, and "slices.1.3.weight" of squeeze, are "features.3.weight" there.
        parts = 2 if network == "squeeze" else 1
        wanted = {
            name: ".".join(["features", *name.split(".")[parts:]])
            for name in self.network.net.state_dict()
        }
        named = {name: tensors[key] for name, key in wanted.items() if key in tensors}
        _load(self.network.net, named, file, f"torchvision's {network} network")

    def forward(
        self,
        one: UInt8[Tensor, "pair 3 height width"],
        two: UInt8[Tensor, "pair 3 height width"],
    ) -> Float[Tensor, " pair"]:
        """Return the distance of each pair; images of at least 32 x 32 pixels."""
        distance: Tensor = self.network(one.float() / 255, two.float() / 255, normalize=True)
        return distance.flatten()


class InceptionFeatures(nn.Module):
    """The 2048 features of the Inception v3 that FID is defined by (Heusel et al. 2017)."""

    def __init__(self, weights: Path | None) -> None:
        """Load the weights: those of torch-fidelity, from a file or the download.

        Raises:
            BadInput: `weights` cannot be read, or are not of this network.
            WeightsMissing: there are none, and they cannot be downloaded.
        """
        super().__init__()
        file, tensors = _tensors(weights, URL_INCEPTION_V3)
        # The network has no way to be built but with weights that are read from a file.
        written: Any = io.BytesIO()
        torch.save(tensors, written)
        written.seek(0)
        try:
            self.network = NoTrainInceptionV3("inception-v3-compat", ["2048"], written)
        except RuntimeError as error:
            raise BadInput(_misfit(file, "FID's Inception v3", error)) from None

    def forward(
        self, images: UInt8[Tensor, "image 3 height width"]
    ) -> Float[Tensor, "image feature"]:
        """Return the features of images, which are scaled to 299 x 299 pixels."""
        features: Tensor = self.network(images)
        return features


def _tensors(path: Path | None, url: str) -> tuple[Path, dict[str, Tensor]]:
    """Return the tensors of a file, or of a download that is kept where torch keeps its own."""
    file = path or _downloaded(url)
    try:
        if file.suffix == ".safetensors":
            return file, load_file(file)
        tensors = torch.load(file, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise BadInput(f"{file}: cannot be read as weights: {one_line(error)}") from None
    if not isinstance(tensors, dict) or not all(isinstance(v, Tensor) for v in tensors.values()):
        raise BadInput(f"{file}: cannot be read as weights: it holds no tensors by name")
    return file, tensors


def _downloaded(url: str) -> Path:
    name = url.rpartition("/")[2]
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    if file.is_file():
        return file
    digest = re.search(r"-([0-9a-f]{8})\.", name)
    try:
        # torch waits without end for a host that does not answer; this asks it first.
        with urlopen(url, timeout=PATIENCE):  # noqa: S310 (https, and ours)
            pass
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), digest and digest[1], progress=False)
    except (OSError, RuntimeError) as error:  # no network, no room; the sum is another
        raise WeightsMissing(f"{url}: cannot be downloaded: {one_line(error)}") from None
    return file


def _load(module: nn.Module, tensors: dict[str, Tensor], file: Path, words: str) -> None:
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise BadInput(_misfit(file, words, error)) from None


def _misfit(file: Path, words: str, error: RuntimeError) -> str:
    return f"{file}: not the weights of {words}: {one_line(error)[:150]}"
