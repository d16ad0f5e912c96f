"""What a person may set about fitting Deep Validation."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from guard.probes import ENERGY
from guard.settings import Settings

__all__ = ["FitSettings"]


class FitSettings(Settings):
    """How Deep Validation is fitted.

    The defaults were chosen on MNIST (20,000 training images, a seven-layer network) by the ROC-AUC
    on misclassified corner cases, so figures on those are a little flattering: `gamma` 1, 2, 4 gave
    0.9936, 0.9947, 0.9937, the plain sum 0.9930, the network's energy 0.983. At `gamma` 16 nearly
    every training image becomes a support vector, and the ROC-AUC falls below 0.97.

    `gamma` and `nu` chosen for each layer by `auto` (see `offline.fitting.selection`), against the
    defaults for all, as means of three seeds with black borders / reflected ones: MNIST 0.9982 /
    0.9983 against 0.9976 / 0.9977, digits 0.9988 / 0.9969 against 0.9972 / 0.9967, the demo's
    hardened model 0.9993 / 0.9968 against 0.9991 / 0.9970, and (one seed) CIFAR-10 on a small
    residual network 0.9556 / 0.9027 against 0.9500 / 0.8937. With the width that does best on each
    single layer, which no clean image tells, they were 0.9977 / 0.9978, 0.9981 / 0.9972, 0.9994 /
    0.9975 and 0.9567 / 0.9024. `nu` hardly matters: 0.01 to 0.1 moved the areas
    of MNIST's dense layers by up to 0.05, of the other layers there, of digits and the demo, by
    0.01 at most, mostly by none.

    The energy beside the layers took the shipped MNIST recipe from 0.9965 to 0.9973 (0.9969 to
    0.9975 with reflected borders) and the demo's hardened model from 0.9945 to 0.9988, on its
    semantic counterexamples from 0.793 to 0.917. Its weight, √n among n layers, came within 0.0002
    of the best of 1, 2, 3, n / 2 and n on both; weights by correlation lost on MNIST.
    """

    layers: Literal["auto"] | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        "auto",
        description="`input`, names of `model.named_modules()`, `energy`; `auto` is the output of "
        "every block and, where the joint is standardised, both of the others",
    )
    reduction: Literal["statistics", "grid", "flatten"] = Field(
        "statistics", description="what a probe keeps: per-channel statistics, a grid, every value"
    )
    grid: int = Field(4, ge=1, le=64, description="cells to a side, for the grid")
    scaling: Literal["whiten", "standardise", "centre"] = Field(
        "whiten", description="what is done to the features; `centre` leaves them as the thesis"
    )
    shrinkage: float = Field(
        0.1, ge=0, le=1, description="share of the identity in the correlation matrix to whiten by"
    )
    components: int = Field(
        256, ge=1, description="directions kept at most when whitening, those of largest variance"
    )
    nu: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = Field(
        0.05, description="share of training images left outside; `auto` chooses for each layer"
    )
    gamma: Annotated[float, Field(gt=0)] | Literal["auto"] = Field(
        2.0,
        description="kernel width, as a multiple of 1 / the layer's total variance; `auto` chooses "
        "for each layer, without anomalies",
    )
    max_per_class: int = Field(
        1000, ge=2, description="training images per class at most: a fit costs their square"
    )
    max_vectors: int | None = Field(
        None, ge=1, description="support vectors kept per class at most; without it, all of them"
    )
    joint: Literal["standardised", "sum"] = Field(
        "standardised",
        description="standardise per layer and class before summing, or just sum distances",
    )
    false_alarm_rate: float = Field(
        0.03, gt=0, lt=1, description="share of clean images that may be called corner cases"
    )
    thresholds: Literal["common", "per_class"] = Field(
        "common",
        description="hold the false-alarm rate over all images, or in each predicted class",
    )
    batch_size: int = Field(128, ge=1, description="images that run through the model at once")
    jobs: int = Field(-1, ge=-1, description="SVMs fitted at once; -1 is one per core")
    backend: Literal["threads", "ray"] = Field(
        "threads", description="where SVMs are fitted: here, or on the cluster at RAY_ADDRESS"
    )

    @model_validator(mode="after")
    def _like_units(self) -> "FitSettings":
        if self.joint == "sum" and ENERGY in self.layers:
            raise ValueError("`joint: sum` adds distances alone; `energy` is in the logits' units")
        return self
