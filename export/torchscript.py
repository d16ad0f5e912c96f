"""A guarded classifier as TorchScript, for hosts that have libtorch and no ONNX Runtime.

Still supported, but deprecated upstream: ONNX is the format to build on.
"""

import warnings
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.jit._trace import TracerWarning

from export.capture import capture
from export.quiet import upstream_quiet
from export.stacking import stacked
from guard.errors import CornerguardError
from guard.guarded import GuardedClassifier

__all__ = ["export_torchscript"]


def export_torchscript(
    guarded: GuardedClassifier, path: Path, images: Float[Tensor, "b c h w"]
) -> None:
    """Trace the model and write it; call it as `module(images, threshold)`.

    TorchScript knows no default for a traced argument: the caller passes the threshold, which the
    manifest names. The result is a tuple in the order of `GuardedOutput`.

    A trace keeps of each branch in the model's code the one that its example takes, and says
    nothing. So the model is captured by `torch.export` first, which refuses such code.

    Raises:
        BadInput: the model fails its trial, or cannot be captured (`export.capture`).
        CornerguardError: the model cannot be traced.
    """
    capture(guarded, images)
    threshold = guarded.detector.threshold.clone()
    try:
        with upstream_quiet(), torch.no_grad():
            # That shapes checked in Python are fixed by the trace: parity is checked on other ones.
            warnings.simplefilter("ignore", TracerWarning)
            traced = torch.jit.trace(stacked(guarded), (images, threshold), check_trace=False)
            torch.jit.save(traced, str(path))
    except RuntimeError as error:
        raise CornerguardError(
            f"the model does not export to TorchScript: {str(error).splitlines()[0]}"
        ) from None
