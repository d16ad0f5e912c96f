"""Running an exported file as its host would: images in, the six outputs out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from jaxtyping import Float
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException
from torch import Tensor

from export.quiet import upstream_quiet
from guard.errors import CornerguardError

__all__ = ["Runner", "onnx_runner", "program_runner", "run_batch", "torchscript_runner"]

Runner = Callable[[Tensor], Sequence[Any]]
"""Takes images [batch, channel, height, width]; gives the six outputs, in order, as arrays."""


def onnx_runner(path: Path, providers: Sequence[str] = ("CPUExecutionProvider",)) -> Runner:
    """Run an ONNX file, with the threshold that it carries."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns that the threshold can be overridden, as is meant
    session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))

    def run(images: Tensor) -> Sequence[np.ndarray]:
        outputs: Sequence[np.ndarray] = session.run(None, {"images": images.cpu().numpy()})
        return outputs

    return run


def torchscript_runner(path: Path, threshold: Float[Tensor, "1"]) -> Runner:
    """Run a TorchScript file at a threshold."""
    with upstream_quiet():
        loaded = torch.jit.load(str(path), map_location=threshold.device)
    return _torch_runner(loaded, threshold)


def program_runner(path: Path, threshold: Float[Tensor, "1"]) -> Runner:
    """Run a .pt2 file at a threshold."""
    return _torch_runner(torch.export.load(str(path)).module(), threshold)


def run_batch(runner: Runner, images: Float[Tensor, "b c h w"], name: str) -> Sequence[Any]:
    """Run one batch.

    Raises:
        CornerguardError: it does not run; the message names the file and the batch.
    """
    try:
        return runner(images)
    except (RuntimeError, IndexError, InvalidArgument, Fail, RuntimeException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CornerguardError(
            f"{name}: does not run on a batch of {len(images)}: {reason}; "
            "is a batch size fixed in the model's code?"
        ) from None


def _torch_runner(module: Callable[..., Sequence[Tensor]], threshold: Tensor) -> Runner:
    def run(images: Tensor) -> list[np.ndarray]:
        with torch.no_grad():
            return [output.cpu().numpy() for output in module(images, threshold)]

    return run
