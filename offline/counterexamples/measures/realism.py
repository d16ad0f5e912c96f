"""How real counterexamples look beside the images they were made from: LPIPS, FID (000, 4.3)."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn

from guard.progress import track
from offline.counterexamples.measures.realism_settings import RealismSettings, WeightsMissing

__all__ = ["Realism", "frechet_distance", "measure_realism", "similarity"]


@dataclass(frozen=True)
class Realism:
    """What was measured of pairs of images; lower is more realistic. None: not measured.

    Attributes:
        lpips: the distance of each pair, on the CPU.
        realism: ρ = 1 − d / d_max of each pair, for `information_worth` (000, section 3.2).
        mean_lpips, lpips_by_class: its mean over all pairs, and by class; None for a class
            without a pair.
        fid: between all originals and all counterexamples.
        fid_by_class: the same by class; None for a class of too few pairs.
        lacking: one line for each metric that was not measured: why, and what to do.
    """

    lpips: Float[Tensor, " pair"] | None
    realism: Float[Tensor, " pair"] | None
    mean_lpips: float | None
    lpips_by_class: tuple[float | None, ...]
    fid: float | None
    fid_by_class: tuple[float | None, ...]
    lacking: tuple[str, ...]

    def figures(self) -> dict[str, Any]:
        """Return the rows of 000's table 4, for JSON; null: not measured."""
        return {
            "lpips": self.mean_lpips,
            "lpips_by_class": list(self.lpips_by_class),
            "fid": self.fid,
            "fid_by_class": list(self.fid_by_class),
            "not_measured": list(self.lacking),
        }


def measure_realism(
    originals: UInt8[Tensor, "pair 3 height width"],
    images: UInt8[Tensor, "pair 3 height width"],
    labels: Int64[Tensor, " pair"],
    classes: int,
    settings: RealismSettings,
    device: torch.device,
) -> Realism:
    """Compare counterexamples with the images that they were made from: 000, tables 4 and 17.

    Args:
        originals, images: the pairs, as they are stored.
        labels: the true class of each pair.
        classes: how many there are.
        settings: the networks and their weights.
        device: where the networks run.

    Raises:
        BadInput: a file of weights cannot be read or holds other weights.
    """
    # The networks take seconds to import, and few commands want them.
    from offline.counterexamples.measures.perceptual_networks import (
        InceptionFeatures,
        LpipsDistance,
    )

    lacking: list[str] = []
    batch, distances, features = settings.batch_size, None, None
    with _measuring("LPIPS", "lpips_weights", lacking):
        lpips = LpipsDistance(settings.network, settings.lpips_weights)
        distances = _over_batches(lpips, batch, device, originals, images)
    with _measuring("FID", "inception_weights", lacking):
        inception = InceptionFeatures(settings.inception_weights)
        features = [_over_batches(inception, batch, device, part) for part in (originals, images)]

    def fid(rows: Bool[Tensor, " pair"]) -> float | None:
        if features is None or int(rows.sum()) < settings.fewest:
            return None
        return frechet_distance(features[0][rows], features[1][rows])

    def mean_lpips(rows: Bool[Tensor, " pair"]) -> float | None:
        return None if distances is None or not rows.any() else float(distances[rows].mean())

    everything = torch.ones_like(labels, dtype=torch.bool)
    by_class = [labels == number for number in range(classes)]
    return Realism(
        lpips=distances,
        realism=None if distances is None else similarity(distances, settings.greatest),
        mean_lpips=mean_lpips(everything),
        lpips_by_class=tuple(map(mean_lpips, by_class)),
        fid=fid(everything),
        fid_by_class=tuple(map(fid, by_class)),
        lacking=tuple(lacking),
    )


def similarity(distance: Float[Tensor, " pair"], greatest: float) -> Float[Tensor, " pair"]:
    """ρ = 1 − d / d_max in [0, 1] (000, section 3.2); farther than d_max is 0."""
    return 1 - (distance / greatest).clamp(0, 1)


def frechet_distance(
    one: Float[Tensor, "image feature"], two: Float[Tensor, "other feature"]
) -> float:
    """‖μ₁ − μ₂‖² + Tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) of the features of two sets of images: FID.

    With Σ = XᵀX the last trace is the sum of the singular values of X₁ X₂ᵀ, which is as large as
    the sets and not as the 2048 features; torchmetrics' eigenvalues of Σ₁ Σ₂ take a minute.
    Each set has two images or more.
    """
    one, two = one.double(), two.double()
    apart = (one.mean(dim=0) - two.mean(dim=0)).square().sum()
    roots = [(each - each.mean(dim=0)) / math.sqrt(len(each) - 1) for each in (one, two)]
    # More images than features: XᵀX = RᵀR, and R is square.
    roots = [torch.linalg.qr(x, mode="r").R if len(x) > x.shape[1] else x for x in roots]
    shared = torch.linalg.matrix_norm(roots[0] @ roots[1].T, ord="nuc")
    return float(apart + roots[0].square().sum() + roots[1].square().sum() - 2 * shared)


@contextmanager
def _measuring(metric: str, setting: str, lacking: list[str]) -> Iterator[None]:
    """Say in one line, instead of a figure, that a metric has no weights."""
    try:
        yield
    except WeightsMissing as error:
        lacking.append(f"{metric} is not measured: {error}; set `{setting}` to a file of them")


@torch.no_grad()
def _over_batches(
    network: nn.Module, batch_size: int, device: torch.device, *images: Tensor
) -> Tensor:
    network = network.to(device)
    parts = [each.split(batch_size) for each in images]
    words = f"{type(network).__name__} of {len(images[0])} images"
    steps = track(zip(*parts, strict=True), words, len(parts[0]))
    return torch.cat([network(*(part.to(device) for part in step)).cpu() for step in steps])
