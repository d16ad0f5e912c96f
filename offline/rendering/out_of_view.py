"""Scenes whose image shows nothing of their subject: an image of nothing has no right label."""

import warnings

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from offline.rendering.renderer import Renderer
from offline.rendering.scene import Scene

__all__ = ["OutOfViewWarning", "out_of_view", "unseen"]


class OutOfViewWarning(UserWarning):
    """Images show nothing of their subject: it is behind, beside or hidden from the camera."""


def out_of_view(
    renderer: Renderer, scenes: Scene, batch_size: int = 64
) -> Int64[Tensor, " unseen"]:
    """Return the indices of scenes that show nothing of their subject.

    Warns:
        OutOfViewWarning: there are such scenes; it names them (the first ten).
    """
    parts = torch.arange(len(scenes), device=scenes.pose.device).split(batch_size)
    coverage = torch.cat([renderer.coverage(scenes[rows]) for rows in parts])
    return unseen(coverage)


def unseen(coverage: Float[Tensor, " scene"]) -> Int64[Tensor, " unseen"]:
    """Return the indices of scenes of which nothing is covered by their subject.

    Warns:
        OutOfViewWarning: there are such scenes; it names them (the first ten).
    """
    found = (coverage <= 0).nonzero()[:, 0].cpu()
    if len(found):
        shown = ", ".join(map(str, found[:10].tolist())) + (", …" if len(found) > 10 else "")
        text = f"{len(found)} of {len(coverage)} scenes show nothing of their subject: {shown}"
        warnings.warn(text, OutOfViewWarning, stacklevel=3)
    return found
