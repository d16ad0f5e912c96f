"""What a person sets of the measures of realism; the networks themselves load slowly."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from guard.errors import CornerguardError
from guard.settings import Settings

__all__ = ["LpipsNetwork", "RealismSettings", "WeightsMissing"]

LpipsNetwork = Literal["alex", "vgg", "squeeze"]


class RealismSettings(Settings):
    """How realism is measured.

    Attributes:
        network: LPIPS's backbone.
        lpips_weights: torchvision's weights of that backbone, .pth or .safetensors; left out,
            torchvision's download.
        inception_weights: the weights of FID's Inception; left out, torch-fidelity's download.
        greatest: d_max, the LPIPS distance at which two images have nothing in common; the paper
            gives no number. Pairs of photographs seldom exceed 1.
        fewest: how many images FID wants. From few images it comes out too large, the more so the
            fewer they are, so that only figures of equally many can be compared.
        batch_size: how many images are looked at once.
    """

    network: LpipsNetwork = "alex"
    lpips_weights: Path | None = None
    inception_weights: Path | None = None
    greatest: float = Field(default=1.0, gt=0)
    fewest: int = Field(default=10, ge=2)
    batch_size: int = Field(default=32, ge=1)


class WeightsMissing(CornerguardError):
    """No file of weights was given, and they cannot be downloaded."""
