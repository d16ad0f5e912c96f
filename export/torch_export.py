"""A guarded classifier as a `torch.export` program (.pt2), for hosts that run torch."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import ExportedProgram

from export.quiet import upstream_quiet
from guard.errors import CornerguardError
from guard.guarded import GuardedClassifier

__all__ = ["capture", "export_program"]


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
    program = capture(guarded, images)
    with upstream_quiet():
        torch.export.save(program, str(path))


def capture(guarded: GuardedClassifier, images: Float[Tensor, "b c h w"]) -> ExportedProgram:
    """Return the program for any batch; it takes images and threshold, and gives a plain tuple.

    Raises:
        CornerguardError: the model cannot be captured.
    """
    batch = torch.export.Dim("batch")
    try:
        with upstream_quiet():
            return torch.export.export(
                _Unnamed(guarded),
                # The file keeps its example: blank, not the user's own images.
                (torch.zeros_like(images), guarded.detector.threshold.clone()),
                dynamic_shapes=({0: batch}, None),
                strict=False,
            )
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
