"""A guarded classifier as a `torch.export` program (.pt2), for hosts that run torch."""

from pathlib import Path

import torch

from export.capture import Captured
from export.quiet import upstream_quiet

__all__ = ["export_program"]


def export_program(captured: Captured, path: Path) -> None:
    """Write the program; `torch.export.load(path).module()(images, threshold)` runs it
    to a plain tuple in the order of `GuardedOutput`, without this package.
    """
    with upstream_quiet():
        torch.export.save(captured.program, str(path))
