"""`layers: auto`: the output of every block of a network."""

from collections import Counter
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from guard.guarded import require_logits
from guard.probes import INPUT, watch

__all__ = ["block_layers"]


def block_layers(model: nn.Module, images: Float[Tensor, "b c h w"]) -> list[str]:
    """Name `input` and every block, in the order in which they run; the head is left out.

    The rule, from the model downwards:

    - a plain container (`Sequential`, `ModuleList`, `ModuleDict`) with two or more weighted members
      is opened, as are the model itself, the only weighted member of a level (a wrapper), and a
      module with a stack inside: a plain container of several modules of one class, such as a
      transformer's encoder has;
    - every other module that has weights is a block: a residual block, an encoder layer,
      a convolution with its norm and activation in one `Sequential`;
    - where an opened module has single layers side by side, a block is a convolution or a linear
      layer with the norms, activations and pools that run after it, and its output is theirs.

    A block that does not run, that gives no floating-point tensor [batch, …], or whose output is
    the logits, is left out.

    Raises:
        BadInput: the model's output is not [batch, class].
    """
    with torch.no_grad(), watch(model, list(_members(model, ""))) as outputs:
        logits = require_logits(model(images))
    blocks: list[str] = []
    in_run = False
    for name in outputs:
        module = model.get_submodule(name)
        if _weighted(module):
            blocks.append(name)
            in_run = not _composite(module)
        elif in_run:
            blocks[-1] = name
    return [INPUT, *(name for name in blocks if _is_hidden(outputs[name], logits))]


def _members(module: nn.Module, prefix: str) -> Iterator[str]:
    weighted = sum(_weighted(child) for child in module.children())
    for name, child in module.named_children():
        alone = weighted == 1 and _weighted(child)
        if _composite(child) and (alone or _opens(child)):
            yield from _members(child, f"{prefix}{name}.")
        else:
            yield prefix + name


def _opens(module: nn.Module) -> bool:
    if _plain(module) and sum(_weighted(child) for child in module.children()) > 1:
        return True
    return any(_is_stack(inner) for inner in module.modules())


def _is_stack(module: nn.Module) -> bool:
    kinds = Counter(type(child) for child in module.children() if _deep(child))
    return _plain(module) and any(count > 1 for count in kinds.values())


def _deep(module: nn.Module) -> bool:
    """Whether a module of its own making mixes features more than once, as a block does."""
    leaves = (inner for inner in module.modules() if not _composite(inner))
    return not _plain(module) and sum(_weighted(leaf) for leaf in leaves) > 1


def _plain(module: nn.Module) -> bool:
    """Whether a module is a container that adds nothing of its own to its members."""
    return isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict) and type(
        module
    ).forward in (nn.Sequential.forward, nn.Module.forward)


def _composite(module: nn.Module) -> bool:
    return next(module.children(), None) is not None


def _weighted(module: nn.Module) -> bool:
    """Whether a module mixes features: norms, whose weights are vectors, do not."""
    return any(parameter.ndim > 1 for parameter in module.parameters())


def _is_hidden(output: object, logits: Tensor) -> bool:
    if not isinstance(output, Tensor) or output.ndim < 2 or not output.is_floating_point():
        return False
    if output.shape[0] != logits.shape[0]:
        return False
    flat = output.flatten(1)
    return flat.shape != logits.shape or not torch.equal(flat, logits)
