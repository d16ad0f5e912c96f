"""Running an exported file as its host would: images in, the six outputs out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from jaxtyping import Float
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
from torch import Tensor

from export.quiet import upstream_quiet
from guard.errors import CornerguardError
from guard.serving.providers import CPU, chain, has_gpu

__all__ = [
    "Runner",
    "UnusableProvider",
    "aot_inductor_runner",
    "onnx_runner",
    "program_runner",
    "run_batch",
    "torchscript_runner",
]

Runner = Callable[[Tensor], Sequence[Any]]
"""Takes images [batch, channel, height, width]; gives the six outputs, in order, as arrays."""

# ONNX Runtime's errors have no base of their own.
RUN_ERRORS = (
    RuntimeError,
    IndexError,
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


class UnusableProvider(CornerguardError):
    """An execution provider is listed by ONNX Runtime, but does not start on this machine."""


def onnx_runner(path: Path, provider: str = CPU) -> Runner:
    """Run an ONNX file on an execution provider, with the threshold that the file carries.

    Raises:
        UnusableProvider: the provider does not start: no GPU, or a library of NVIDIA's is missing.
    """
    session = _open(path, provider)

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


def aot_inductor_runner(path: Path, threshold: Float[Tensor, "1"]) -> Runner:
    """Run a package that AOTInductor compiled, at a threshold."""
    with upstream_quiet():
        loaded = torch._inductor.aoti_load_package(str(path))
    return _torch_runner(loaded, threshold)


def run_batch(runner: Runner, images: Float[Tensor, "b c h w"], name: str) -> Sequence[Any]:
    """Run one batch.

    Raises:
        CornerguardError: it does not run; the message names the file and the batch.
    """
    try:
        return runner(images)
    except RUN_ERRORS as error:
        raise CornerguardError(
            f"{name}: does not run on a batch of {len(images)}: {_first_line(error)}; "
            "is a batch size fixed in the model's code?"
        ) from None


def _open(path: Path, provider: str) -> Any:
    if provider != CPU and not has_gpu():
        raise UnusableProvider(f"{provider} does not start here: no NVIDIA driver answers")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns that the threshold can be overridden, as is meant
    if provider == CPU:
        return onnxruntime.InferenceSession(str(path), options, providers=chain(CPU))
    # A library that is missing is printed by the logger of the process, and said here instead.
    onnxruntime.set_default_logger_severity(4)
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=chain(provider), enable_fallback=0
        )
    except RUN_ERRORS as error:
        raise UnusableProvider(f"{provider} does not start here: {_first_line(error)}") from None
    finally:
        onnxruntime.set_default_logger_severity(2)
    if provider not in session.get_providers():
        raise UnusableProvider(
            f"{provider} does not start here: a library that it needs is missing"
        )
    return session


def _torch_runner(module: Callable[..., Sequence[Tensor]], threshold: Tensor) -> Runner:
    def run(images: Tensor) -> list[np.ndarray]:
        with torch.no_grad():
            return [output.cpu().numpy() for output in module(images, threshold)]

    return run


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
