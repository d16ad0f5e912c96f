"""ONNX Runtime's execution providers: which can work here, and how each is asked for."""

import ctypes
from collections.abc import Mapping

import onnxruntime

__all__ = ["CPU", "CUDA", "TENSORRT", "chain", "has_gpu", "listed"]

CPU, CUDA, TENSORRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))

OPTIONS: Mapping[str, dict[str, str]] = {
    CPU: {},
    # TF32 would round scores to three digits and so move verdicts near the threshold.
    CUDA: {"use_tf32": "0"},
    # TensorRT takes TF32 where the GPU has it; ONNX Runtime has no option against that.
    TENSORRT: {},
}


def listed() -> list[str]:
    """Return those of CPU, CUDA and TensorRT that the installed ONNX Runtime was built with.

    That they are listed does not say that they work: see `has_gpu`.
    """
    present = onnxruntime.get_available_providers()
    return [provider for provider in OPTIONS if provider in present]


def chain(provider: str) -> list[tuple[str, dict[str, str]]]:
    """Return what a session is opened with: the provider, then those that take what it leaves."""
    order = list(OPTIONS)
    return [(name, OPTIONS[name]) for name in reversed(order[: order.index(provider) + 1])]


def has_gpu() -> bool:
    """Whether an NVIDIA driver answers; to open a CUDA session in vain would print errors.

    Where one does, the CUDA libraries that came as Python packages are loaded too.
    """
    try:
        found = bool(ctypes.CDLL("libcuda.so.1").cuInit(0) == 0)
    except OSError:
        return False
    if found:
        onnxruntime.preload_dlls()
    return found
