"""A guarded classifier as TorchScript, for hosts that have libtorch and no ONNX Runtime.

Still supported, but deprecated upstream: ONNX is the format to build on.
"""

import warnings
from pathlib import Path

import torch
from torch.jit._trace import TracerWarning

from export.archive import forget_places
from export.capture import Captured
from export.quiet import upstream_quiet
from export.stacking import stacked
from guard.errors import CornerguardError

__all__ = ["export_torchscript", "write_trace"]


def export_torchscript(captured: Captured, path: Path) -> None:
    """Trace the model and write it; call it as `module(images, threshold)`.

    TorchScript knows no default for a traced argument: the caller passes the threshold, which the
    manifest names. The result is a tuple in the order of `GuardedOutput`.

    A trace keeps of each branch in the model's code the one that its example takes, and says
    nothing. So it is made of a model that `torch.export` has captured, which refuses such code.

    Raises:
        CornerguardError: the model cannot be traced.
    """
    guarded, images, _ = captured
    threshold = guarded.detector.threshold.clone()
    try:
        with upstream_quiet(), torch.no_grad():
            # That shapes checked in Python are fixed by the trace: parity is checked on other ones.
            warnings.simplefilter("ignore", TracerWarning)
            traced = torch.jit.trace(stacked(guarded), (images, threshold), check_trace=False)
            write_trace(traced, path)
    except RuntimeError as error:
        raise CornerguardError(
            f"the model does not export to TorchScript: {str(error).splitlines()[0]}"
        ) from None


def write_trace(traced: torch.jit.ScriptModule, path: Path) -> None:
    """Write a traced module without the debug records, which name the files that it came from."""
    torch.jit.save(traced, str(path))
    forget_places(path, dropped=[".debug_pkl"])
