"""ONNX Runtime's execution providers: which can work here, and how each is asked for."""

import ctypes
from collections.abc import Mapping
from typing import Literal

import onnxruntime

from guard.errors import CornerguardError

__all__ = [
    "CPU",
    "CUDA",
    "TENSORRT",
    "Accelerator",
    "DeviceMissing",
    "chain",
    "choose",
    "device_of",
    "has_gpu",
    "listed",
]

Accelerator = Literal["auto", "cpu", "cuda", "tensorrt"]
"""Where a graph runs; `auto` is CUDA where an NVIDIA driver answers, else the CPU."""

CPU, CUDA, TENSORRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))
NAMES: Mapping[str, str] = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT}

OPTIONS: Mapping[str, dict[str, str]] = {
    CPU: {},
    # TF32 would round scores to three digits and so move verdicts near the threshold.
    CUDA: {"use_tf32": "0"},
    # TensorRT takes TF32 where the GPU has it; ONNX Runtime has no option against that.
    TENSORRT: {},
}


class DeviceMissing(CornerguardError):
    """The accelerator that was asked for does not answer."""


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


def choose(accelerator: Accelerator) -> str:
    """Return the provider that an accelerator means here.

    Raises:
        DeviceMissing: this ONNX Runtime was built without it, or no NVIDIA driver answers.
    """
    if accelerator == "auto":
        return CUDA if CUDA in listed() and has_gpu() else CPU
    provider = NAMES[accelerator]
    if provider not in listed():
        raise DeviceMissing(f"{accelerator}: the installed ONNX Runtime was built without it")
    if provider != CPU and not has_gpu():
        raise DeviceMissing(f"{accelerator}: no NVIDIA driver answers")
    return provider


def device_of(provider: str) -> str:
    """Return `cpu`, `cuda` or `tensorrt`."""
    return next(name for name, own in NAMES.items() if own == provider)


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
