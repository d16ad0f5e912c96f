"""A guarded classifier as a `torch.export` program (.pt2), for hosts that run torch."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from export.image_size import dynamic_axes
from export.quiet import upstream_quiet
from guard.errors import CornerguardError
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
        images: two or more, because a batch of one would be taken for a constant.

    Raises:
        CornerguardError: the model cannot be captured, for data-dependent control flow for example.
    """
    try:
        with upstream_quiet():
            program = torch.export.export(
                _Unnamed(guarded),
                # The file keeps its example: blank, not the user's own images.
                (torch.zeros_like(images), guarded.detector.threshold.clone()),
                dynamic_shapes=(dynamic_axes(guarded), None),
                strict=False,
            )
            torch.export.save(program, str(path))
    except RuntimeError as error:
        raise CornerguardError(
            f"the model does not export to .pt2: {str(error).splitlines()[0]}"
        ) from None


class _Unnamed(nn.Module):
    """Answers with a plain tuple, because a named one can only be read where its class is."""

    def __init__(self, guarded: GuardedClassifier) -> None:
        super().__init__()
        self.guarded = guarded

    def forward(
        self, images: Float[Tensor, "b c h w"], threshold: Float[Tensor, "1"]
    ) -> tuple[Tensor, ...]:
        return tuple(self.guarded(images, threshold))
