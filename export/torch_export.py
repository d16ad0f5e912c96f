"""A guarded classifier as a `torch.export` program (.pt2), for hosts that run torch."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from export.capture import capture
from export.quiet import upstream_quiet
from guard.guarded import GuardedClassifier

__all__ = ["export_program"]


def export_program(
    guarded: GuardedClassifier, path: Path, images: Float[Tensor, "b c h w"]
) -> None:
    """Write the program; `torch.export.load(path).module()(images, threshold)` runs it
    to a plain tuple in the order of `GuardedOutput`, without this package.

    Args:
        guarded: in evaluation mode.
        path: the file to write.
        images: two or more, on which the model is tried.

    Raises:
        BadInput: the model fails its trial, or cannot be captured (`export.capture`).
    """
    program = capture(guarded, images)
    with upstream_quiet():
        torch.export.save(program, str(path))
