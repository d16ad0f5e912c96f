"""The user's own model: named as `package.module:factory`, its weights a safetensors file."""

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from guard.errors import BadInput, CornerguardError, nearest
from offline.networks import Normalised

__all__ = [
    "build_model",
    "device_of",
    "load_weights",
    "require_classifier",
    "save_weights",
    "source_of",
]

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def build_model(
    factory: str, arguments: dict[str, Any], normalise: dict[str, tuple[float, ...]] | None
) -> nn.Module:
    """Call `package.module:factory` with the arguments; put the normalisation inside the model.

    The current folder comes first on the import path, as it does for `python -m`.

    Raises:
        BadInput: there is no such module or factory, it does not take the arguments, or it does
            not return a torch module.
    """
    module_name, _, name = factory.partition(":")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise BadInput(f"{factory!r}: the module cannot be imported: {error}") from None
    if not callable(getattr(module, name, None)):
        raise BadInput(f"{factory!r}: no such factory in {module_name}{nearest(name, dir(module))}")
    try:
        model = getattr(module, name)(**arguments)
    except TypeError as error:
        raise BadInput(f"{factory!r}: does not take these arguments: {error}") from None
    if not isinstance(model, nn.Module):
        raise BadInput(f"{factory!r}: returns a {type(model).__name__}, not a torch.nn.Module")
    return Normalised(model, normalise["mean"], normalise["std"]) if normalise else model


def source_of(factory: str) -> Path:
    """Return the file that defines a factory which `build_model` has called."""
    module = sys.modules[factory.partition(":")[0]]
    return Path(inspect.getsourcefile(module) or inspect.getfile(module))


def load_weights(model: nn.Module, file: Path) -> None:
    """Load a safetensors file into a model; every tensor must match by name and shape.

    Weights saved from a model without its normalisation are found too.
    """
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{file}: is not a safetensors file that can be read: {error}") from None
    inner = model.model if isinstance(model, Normalised) else model
    target = max((model, inner), key=lambda each: len(each.state_dict().keys() & tensors.keys()))
    try:
        missing, unexpected = target.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise BadInput(
            f"{file}: does not fit the model: {str(error).splitlines()[-1].strip()}"
        ) from None
    for word, names in (("lacks", missing), ("has the unknown", unexpected)):
        if names:
            hint = nearest(names[0], target.state_dict()) if word != "lacks" else ""
            raise BadInput(f"{file}: {word} {names[0]!r} ({len(names)} tensors in all){hint}")


def save_weights(model: nn.Module, file: Path) -> None:
    """Write the model's parameters and buffers as safetensors."""
    save_file(
        {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()},
        file,
    )


def device_of(model: nn.Module) -> torch.device:
    """Return where the model's first weight lies: the CPU for a model without any."""
    weights = [*model.parameters(), *model.buffers()]
    return weights[0].device if weights else torch.device("cpu")


def require_classifier(model: nn.Module, shape: tuple[int, int, int], classes: int) -> None:
    """Run one image through the model and check that [batch, class] comes out.

    Raises:
        BadInput: the model does not take such images, or something else comes out.
    """
    device = device_of(model)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = model(torch.zeros(2, *shape, device=device))
    except (RuntimeError, ValueError, TypeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise BadInput(
            f"the model does not take images [batch, {', '.join(map(str, shape))}]: {reason}"
        ) from None
    finally:
        model.train(training)
    seen = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if seen != [2, classes]:
        raise BadInput(
            f"the model's output for 2 images is {seen}; [batch, class] = [2, {classes}] is wanted"
        )
    if not torch.isfinite(logits).all():
        raise CornerguardError("the model's output for a black image is not finite")
