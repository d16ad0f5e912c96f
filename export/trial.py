"""A trial run before a model becomes a graph: what it must not do is named, with the module."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import torch
from jaxtyping import Float
from torch import Tensor

from export.blame import named, outputs_by_module, running_modules
from guard.errors import BadInput, CornerguardError
from guard.guarded import GuardedClassifier, GuardedOutput

__all__ = ["first_line", "require_exportable"]

BATCHES = (1, 2, 3)
SLACK = 1e-2
"""Of the logits' size; a GPU's TF32 rounds otherwise in a batch of another size."""
WIDE = {torch.float64, torch.complex64, torch.complex128}


def require_exportable(guarded: GuardedClassifier, images: Float[Tensor, "b c h w"]) -> None:
    """Run a guarded model on batches of 1, 2 and 3 images and on all 6 at once.

    The module's buffers are left as they were.

    Args:
        guarded: in evaluation mode.
        images: two or more; they are mirrored as well if there are fewer than six.

    Raises:
        BadInput: at some batch it does not run; it needs gradients; it gives something else than
            logits, or not in float32; it changes a buffer in evaluation mode; it draws random
            numbers; what it says of an image hangs on the others of the batch. One line that names
            the module and says what to do.
    """
    six = torch.cat([images, images.flip(-1), images.flip(-2)])[: sum(BATCHES)]
    buffers = {name: value.clone() for name, value in guarded.named_buffers()}
    try:
        whole = _run(guarded, six)
        _require_same_buffers(guarded, buffers)
        _require_float32(guarded, whole, six)
        parts = [_run(guarded, part) for part in six.split(BATCHES)]
        if not _alike(whole.logits, _run(guarded, six).logits):
            raise BadInput(_random(guarded, six))
        if not _alike(whole.logits, _joined([part.logits for part in parts], whole.logits)):
            raise BadInput(_entangled(guarded, six))
    finally:
        with torch.no_grad():
            for name, value in guarded.named_buffers():
                value.copy_(buffers.get(name, value))


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or what kind it is."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".;")


def _run(guarded: GuardedClassifier, images: Tensor) -> GuardedOutput:
    with running_modules(guarded) as stack:
        try:
            with torch.no_grad():
                output: GuardedOutput = guarded(images)
        except CornerguardError:
            raise
        except Exception as error:  # a model's own code may raise anything
            raise BadInput(_failed(guarded, images, named(guarded, stack[-1]), error)) from None
    return output


def _failed(guarded: GuardedClassifier, images: Tensor, where: str, error: Exception) -> str:
    try:
        with torch.enable_grad():
            guarded(images)
    except Exception:  # it fails with gradients too
        if where.startswith("layers") and (odd := _odd_layer(guarded, images)):
            return odd
        # The module that fails may be the one behind that whose output has a fixed batch.
        culprit = _entangled_module(guarded, images) or where
        return (
            f"{culprit}: does not run on a batch of {len(images)}: {first_line(error)}; "
            "if its code fixes a batch size, write -1 or images.shape[0] in its place"
        )
    return (
        f"{where}: needs gradients, and a graph computes none: {first_line(error)}; "
        "compute what it needs in closed form"
    )


def _require_same_buffers(guarded: GuardedClassifier, before: Mapping[str, Tensor]) -> None:
    for name, value in guarded.named_buffers():
        if not torch.equal(before[name].nan_to_num(), value.nan_to_num()):
            module, _, buffer = name.rpartition(".")
            raise BadInput(
                f"{named(guarded, module)}: changes its buffer {buffer!r} in evaluation mode, and "
                "a graph keeps nothing from run to run; change it only `if self.training`"
            )


def _require_float32(guarded: GuardedClassifier, output: GuardedOutput, images: Tensor) -> None:
    if output.logits.dtype in WIDE or not output.logits.is_floating_point():
        raise BadInput(
            f"model: its logits are {_datatype(output.logits)}, float32 is wanted; "
            "let it end with .float()"
        )
    if output.score.dtype in WIDE:
        raise BadInput(_odd_layer(guarded, images) or "the detector: its tables are not float32")


def _odd_layer(guarded: GuardedClassifier, images: Tensor) -> str | None:
    """Name the watched layer whose output is of a type that the detector does not compute in."""
    seen = _outputs(guarded, images)
    for layer in guarded.detector.layers:
        found = seen.get(f"model.{layer}")
        if found is not None and (found.dtype in WIDE or not found.is_floating_point()):
            return (
                f"layers: {layer!r} gives {_datatype(found)}, float32 is wanted; let the module "
                "end with .float(), or watch another"
            )
    return None


def _random(guarded: GuardedClassifier, images: Tensor) -> str:
    runs = [_outputs(guarded, images) for _ in range(2)]
    culprit = next((n for n in runs[0] if not _alike(runs[0][n], runs[1].get(n))), "model")
    return (
        f"{named(guarded, culprit)}: answers otherwise when asked again; let it draw random "
        "numbers, or keep what it has seen, only `if self.training`"
    )


def _entangled(guarded: GuardedClassifier, images: Tensor) -> str:
    culprit = _entangled_module(guarded, images) or named(guarded, "model")
    return (
        f"{culprit}: what it says of an image hangs on the batch that the image is in; let it "
        "treat each alone, whatever the batch's size (a norm needs running statistics)"
    )


def _entangled_module(guarded: GuardedClassifier, images: Tensor) -> str | None:
    """Name the first module whose outputs for the parts of a batch are not those for the whole."""
    whole = _outputs(guarded, images)
    for size in BATCHES:
        parts = [_outputs(guarded, part) for part in images.split(size)]
        for name, output in whole.items():
            pieces = [part[name] for part in parts if name in part]
            if len(pieces) == len(parts) and not _alike(output, _joined(pieces, output)):
                return named(guarded, name)
    return None


def _outputs(guarded: GuardedClassifier, images: Tensor) -> dict[str, Tensor]:
    """Run the model and keep what its modules gave, up to an error if there is one."""
    with torch.no_grad(), suppress(Exception), outputs_by_module(guarded) as outputs:
        guarded(images)
    return outputs


def _joined(parts: Sequence[Tensor], whole: Tensor) -> Tensor | None:
    """Join the outputs for several batches along the axis that makes the whole's shape of them."""
    if all(part.shape == whole.shape for part in parts):
        # Right if it does not depend on the images, as a table of positions does not.
        return parts[0] if all(_alike(parts[0], part) for part in parts) else None
    if any(part.ndim != whole.ndim for part in parts):
        return None
    for axis, size in enumerate(whole.shape):
        rest = [(*part.shape[:axis], *part.shape[axis + 1 :]) for part in parts]
        fits = all(shape == (*whole.shape[:axis], *whole.shape[axis + 1 :]) for shape in rest)
        if fits and sum(part.shape[axis] for part in parts) == size:
            return torch.cat(list(parts), axis)
    return None


def _alike(one: Tensor, other: Tensor | None) -> bool:
    if other is None or one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point():
        return bool(one.is_complex() or torch.equal(one, other))
    size = one.nan_to_num().square().mean().sqrt().item()
    return torch.allclose(one, other, rtol=0, atol=SLACK * size, equal_nan=True)


def _datatype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
