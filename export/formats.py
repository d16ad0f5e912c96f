"""The files of a bundle: each is written, then compared with the module wherever it can run."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from export.aot_inductor import export_aot_inductor, require_compiler
from export.capture import Captured
from export.parity import TOLERANCE, Mismatch, require_parity
from export.runners import (
    Runner,
    UnusableProvider,
    aot_inductor_runner,
    onnx_runner,
    program_runner,
    torchscript_runner,
)
from export.settings import Format
from export.torch_export import export_program
from export.torchscript import export_torchscript
from guard.guarded import GuardedClassifier
from guard.manifest import Agreement
from guard.progress import CONSOLE
from guard.serving.providers import TENSORRT, listed

__all__ = ["PROVIDER_TOLERANCES", "compare_onnx", "require_format", "write_format"]

PROVIDER_TOLERANCES = {TENSORRT: 1e-2}
"""TensorRT multiplies in TF32, with 10 bits; every other provider is held to `TOLERANCE`."""


def compare_onnx(
    guarded: GuardedClassifier,
    path: Path,
    images: Sequence[Float[Tensor, "_ c _ _"]],
    picture: Path,
) -> dict[str, Agreement]:
    """Compare an ONNX file on every execution provider that works here; say which do not.

    Args:
        guarded: what the file was made from.
        path: the ONNX file.
        images: real ones, and where the graph takes any size, others of other sizes.
        picture: where the worst image of a mismatch is written, as PNG.

    Returns:
        By provider, on the first of `images`.

    Raises:
        Mismatch: it differs on one of them.
    """
    found = {}
    for provider in listed():
        try:
            run = onnx_runner(path, provider)
        except UnusableProvider as error:
            CONSOLE.print(f"{path.name}: not compared: {error}", highlight=False, soft_wrap=True)
            continue
        tolerance = PROVIDER_TOLERANCES.get(provider, TOLERANCE)
        name = f"{path.name} on {provider}"
        found[provider] = _require_parity(guarded, run, images, name, tolerance, picture)
    return found


def write_format(
    captured: Captured,
    folder: Path,
    images: Sequence[Float[Tensor, "_ c _ _"]],
    kind: Format,
    picture: Path,
) -> dict[str, dict[str, Agreement]]:
    """Write one file beside the ONNX one, and compare it on the device that the model is on.

    Returns:
        By file, then by device, on the first of `images`.

    Raises:
        Mismatch: it differs.
        CornerguardError: the model does not export to this format.
    """
    name, write, open_runner = _WRITERS[kind]
    guarded = captured.guarded
    threshold = guarded.detector.threshold
    write(captured, folder / name)
    run = open_runner(folder / name, threshold)
    agreement = _require_parity(guarded, run, images, name, TOLERANCE, picture)
    return {name: {threshold.device.type: agreement}}


def require_format(kind: Format) -> None:
    """Refuse a format that this machine cannot write, before any work is done.

    Raises:
        CornerguardError: it needs a C++ compiler, and there is none.
    """
    if kind == "aot_inductor":
        require_compiler()


class _Writer(NamedTuple):
    file: str
    write: Callable[[Captured, Path], None]
    open_runner: Callable[[Path, Tensor], Runner]


_WRITERS: dict[Format, _Writer] = {
    "torchscript": _Writer("model.ts", export_torchscript, torchscript_runner),
    "torch_export": _Writer("model.pt2", export_program, program_runner),
    "aot_inductor": _Writer("model.aot.pt2", export_aot_inductor, aot_inductor_runner),
}


def _require_parity(
    guarded: GuardedClassifier,
    run: Runner,
    images: Sequence[Tensor],
    name: str,
    tolerance: float,
    picture: Path,
) -> Agreement:
    """Compare; of a mismatch keep the worst image where a person can look at it."""
    found = []
    for batch in images:
        try:
            found.append(require_parity(guarded, run, batch, name, tolerance))
        except Mismatch as error:
            _write_picture(batch[error.image], picture)
            raise Mismatch(f"{error}; the image is {picture}", error.image) from None
    return found[0]


def _write_picture(image: Float[Tensor, "c h w"], path: Path) -> None:
    pixels = (image.nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8).cpu()
    if len(pixels) == 3:
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path, format="PNG")
    else:  # channels that are no colours: side by side
        Image.fromarray(torch.cat(list(pixels), dim=1).numpy()).save(path, format="PNG")
