"""What a person may set about fitting Deep Validation."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from guard.probes import ENERGY
from guard.settings import Settings

__all__ = ["FitSettings"]


class FitSettings(Settings):
    """How Deep Validation is fitted.

    The defaults were chosen by the ROC-AUC on misclassified corner cases of the data sets below, so
    figures on those are a little flattering. Black borders / reflected ones, one seed:

    ======================================  =============  =============  =============  ===========
    .                                       MNIST          digits         demo           CIFAR-10
    ======================================  =============  =============  =============  ===========
    the defaults, all support vectors       .9979 / .9980  .9986 / .9956  .9999 / .9990  .971 / .955
    `unit_length: false`                    .9979 / .9981  .9987 / .9959  .9993 / .9977  .960 / .919
    unit length for the image, rows too     .9968 / .9970  .9986 / .9950  .9998 / .9989  .971 / .955
    distances over deviations, no length    .9976 / .9977  .9972 / .9967  .9991 / .9970  .950 / .894
    the energy alone                        .984           .896           .932           .909
    ======================================  =============  =============  =============  ===========

    The energy weighs √n among n other layers; n / 2 moved the areas by 0.003 at most, for and
    against. 64 support vectors a class did no worse than all, 32 by 0.001.

    `gamma` and `nu` chosen for each layer by `auto` (see `offline.fitting.selection`) gained 0.0006
    on MNIST, 0.0016 on digits, 0.0002 on the demo and 0.006 on CIFAR-10 where the joint summed
    distances over their deviation. With the log ratio the width matters less: under 0.0004 on the
    first three, 0.005 on CIFAR-10 (before the unit length). `nu` hardly matters anywhere.
    """

    layers: Literal["auto"] | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        "auto",
        description="`input`, names of `model.named_modules()`, `energy`; `auto` is the output of "
        "every block and, where the joint is standardised, both of the others",
    )
    last_blocks: int | None = Field(
        None,
        ge=1,
        description="with `auto`, watch the last so many blocks only, as the thesis does in deep "
        "networks; null watches every block",
    )
    reduction: Literal["statistics", "grid", "flatten"] = Field(
        "statistics", description="what a probe keeps: per-channel statistics, a grid, every value"
    )
    unit_length: bool = Field(
        True,
        description="divide the features of hidden maps and tokens by their length, and keep its "
        "logarithm",
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
    nu: Annotated[float, Field(gt=0, lt=1)] | Literal["auto"] = Field(
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
        64, ge=1, description="support vectors kept per class at most; null keeps them all"
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
    def _cut_of_auto(self) -> "FitSettings":
        if self.last_blocks is not None and self.layers != "auto":
            raise ValueError("`last_blocks` cuts `layers: auto`, not layers that are named")
        return self

    @model_validator(mode="after")
    def _like_units(self) -> "FitSettings":
        if self.joint == "sum" and ENERGY in self.layers:
            raise ValueError("`joint: sum` adds distances alone; `energy` is in the logits' units")
        return self
