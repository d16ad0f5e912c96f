"""The two detectors that the thesis compares with (Table 3.7), which no library offers.

Larger scores mean outliers.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.ndimage import median_filter
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.neighbors import KernelDensity
from torch import Tensor

__all__ = [
    "ClassKernelDensity",
    "feature_squeezing",
    "held_out_bandwidth",
    "median_smoothing",
    "non_local_means",
    "reduced_depth",
]

BANDWIDTHS = np.geomspace(0.1, 10, 9)


def reduced_depth(images: Float[Tensor, "b c h w"], bits: int) -> Float[Tensor, "b c h w"]:
    """Round images in [0, 1] to 2^bits levels (Xu et al. 2018, section III-A)."""
    levels = float(2**bits - 1)
    return (images * levels).round() / levels


def median_smoothing(images: Float[Tensor, "b c h w"], side: int) -> Float[Tensor, "b c h w"]:
    """Take the median over `side` x `side` pixels, reflected at the border (section III-B)."""
    return torch.from_numpy(median_filter(images.numpy(), size=(1, 1, side, side), mode="reflect"))


def non_local_means(
    images: Float[Tensor, "b 3 h w"], search: int, patch: int, strength: float
) -> Float[Tensor, "b 3 h w"]:
    """Average like patches of colour images by OpenCV's filter (section III-B, "11-3-4")."""
    pixels = images.mul(255).round().byte().permute(0, 2, 3, 1).flip(3).contiguous().numpy()
    smoothed = [
        cv2.fastNlMeansDenoisingColored(image, None, strength, strength, patch, search)
        for image in pixels
    ]
    return torch.from_numpy(np.stack(smoothed)).flip(3).permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def feature_squeezing(
    logits_of: Callable[[Tensor], Tensor],
    images: Float[Tensor, "b c h w"],
    squeezers: Sequence[Callable[[Tensor], Tensor]],
) -> Float[Tensor, " b"]:
    """Return the largest L1 distance between softmax outputs, in [0, 2], over the squeezers.

    This is the joint detector of Xu et al. 2018, section V-B.
    """
    plain = logits_of(images).softmax(1)
    distances = [
        (plain - logits_of(squeeze(images)).softmax(1)).abs().sum(1) for squeeze in squeezers
    ]
    return torch.stack(distances).amax(0)


class ClassKernelDensity:
    """Minus the log density of the last hidden layer, under the predicted class's training images.

    Feinman et al. 2017, section 3.1: one Gaussian kernel density a class.

    Args:
        features: of training images.
        labels: of the same, every class among them.
        classes: how many.
        bandwidth: of the kernel.
    """

    def __init__(
        self,
        features: Float[Tensor, "n feature"],
        labels: Int64[Tensor, " n"],
        classes: int,
        bandwidth: float,
    ) -> None:
        self.densities = [
            KernelDensity(bandwidth=bandwidth).fit(features[labels == label].numpy())
            for label in range(classes)
        ]

    def __call__(
        self, features: Float[Tensor, "b feature"], predicted: Int64[Tensor, " b"]
    ) -> Float[Tensor, " b"]:
        scores = torch.zeros(len(features), dtype=torch.float64)
        for label in predicted.unique().tolist():
            rows = predicted == label
            found = self.densities[label].score_samples(features[rows].numpy())
            scores[rows] = -torch.from_numpy(found)
        return scores


def held_out_bandwidth(
    features: Float[Tensor, "n feature"], labels: Int64[Tensor, " n"], classes: int
) -> float:
    """Choose the bandwidth of the largest log likelihood of held-out images, summed over classes.

    Feinman et al. tune it by the detection of adversarial images, which no other peer gets to see.
    """
    split = ShuffleSplit(1, test_size=0.2, random_state=0)
    likelihoods = sum(
        GridSearchCV(KernelDensity(), {"bandwidth": BANDWIDTHS}, cv=split, refit=False)
        .fit(features[labels == label].numpy())
        .cv_results_["mean_test_score"]
        for label in range(classes)
    )
    return float(BANDWIDTHS[np.argmax(likelihoods)])
