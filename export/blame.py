"""Which module of a guarded model is to blame: the one that ran when an error rose."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from guard.guarded import GuardedClassifier

__all__ = ["named", "outputs_by_module", "running_modules"]


@contextmanager
def running_modules(guarded: GuardedClassifier) -> Iterator[list[str]]:
    """Yield the names of the modules that run, outermost first.

    After an error the last one is the module in whose own code it rose: hooks behind a module's
    forward are not called then. Hooks are ordinary, so exporters follow them.
    """
    stack: list[str] = []

    def enter(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any) -> None:
            if not name:
                stack.clear()  # a forward begins anew
            stack.append(name)

        return hook

    def leave(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            # What is above it was left by an error that its code caught.
            del stack[len(stack) - 1 - stack[::-1].index(name) :]

        return hook

    with ExitStack() as hooks:
        for name, module in guarded.named_modules():
            hooks.callback(module.register_forward_pre_hook(enter(name)).remove)
            hooks.callback(module.register_forward_hook(leave(name)).remove)
        yield stack


@contextmanager
def outputs_by_module(guarded: GuardedClassifier) -> Iterator[dict[str, Tensor]]:
    """Yield a dictionary that fills with the model's modules' outputs in the order of their ends.

    Only single tensors are kept; inner modules end, hence come, before those around them.
    """
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                outputs[name] = output.clone()  # what follows may work in place

        return hook

    with ExitStack() as hooks:
        for name, module in guarded.named_modules():
            if name.split(".")[0] == "model":
                hooks.callback(module.register_forward_hook(keep(name)).remove)
        yield outputs


def named(guarded: GuardedClassifier, path: str) -> str:
    """Say which module lies at a path in the guarded model, as a user knows it.

    `model.features.3` is `model: 'features.3' (Gate)`; a part of the detector is the layer that it
    validates: `layers: 'conv1'`, or those that a stack does (`export.stacking`).
    """
    head, _, rest = path.partition(".")
    if head == "detector":
        part, _, inner = rest.partition(".")
        members = inner.split(".")[0]
        if part in ("validators", "stacks") and members:
            layers = (repr(guarded.detector.layers[int(at)]) for at in members.split("_"))
            return f"layers: {', '.join(layers)}"
        return "the detector"
    known: Mapping[str, nn.Module] = dict(guarded.model.named_modules())
    kind = type(known.get(rest, guarded.model)).__name__
    return f"model: {rest!r} ({kind})" if rest in known and rest else f"model ({kind})"
