"""A training set in which some images are replaced by their semantic counterexamples."""

import hashlib

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from guard.errors import BadInput
from offline.datasets import ImageSet

__all__ = ["Replaced", "replace_share"]


class Replaced(ImageSet):
    """Another set, with image `rows[k]` replaced by `pixels[k]`; every label stays.

    Raises:
        BadInput: a row is not in the set or named twice, or the images are of another shape.
    """

    def __init__(
        self, image_set: ImageSet, pixels: UInt8[Tensor, "m c h w"], rows: Int64[Tensor, " m"]
    ) -> None:
        if tuple(pixels.shape[1:]) != image_set.shape:
            shape = tuple(pixels.shape[1:])
            raise BadInput(f"counterexamples are {shape}, the training images {image_set.shape}")
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(image_set):
            raise BadInput(f"counterexamples replace images in 0..{len(image_set) - 1} only")
        if len(rows.unique()) != len(rows):
            raise BadInput("two counterexamples replace the same training image")
        self.image_set, self.pixels, self.rows = image_set, pixels, rows
        self.classes, self.shape, self.labels = image_set.classes, image_set.shape, image_set.labels
        self.slot = torch.full((len(image_set),), -1)
        self.slot[rows] = torch.arange(len(rows))

    def fetch(self, indices: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        slot = self.slot[indices]
        images = torch.empty(len(indices), *self.shape)
        replaced = slot >= 0
        images[replaced] = self.pixels[slot[replaced]].float().div_(255)
        if not bool(replaced.all()):
            images[~replaced] = self.image_set.fetch(indices[~replaced])
        return images

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self.image_set.fingerprint(), self.rows.tolist())).encode())
        digest.update(self.pixels.contiguous().numpy().data)
        return digest.hexdigest()


def replace_share(
    image_set: ImageSet,
    pixels: UInt8[Tensor, "m c h w"],
    rows: Int64[Tensor, " m"],
    share: float,
    seed: int,
) -> Replaced:
    """Replace `share` of a set, drawn at random, by counterexamples (000, appendix E.6).

    `pixels[k]` is the counterexample of image `rows[k]`. Where there are fewer of them than the
    share wants, all are taken.
    """
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    chosen = order[: round(share * len(image_set))]
    return Replaced(image_set, pixels[chosen], rows[chosen])
