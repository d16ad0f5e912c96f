"""The state of a training between two epochs, on disk: whole or absent."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from guard.errors import BadInput
from guard.storage import replace_directory, write_json

__all__ = ["TrainingState", "load_state", "save_state", "sum_of"]

TENSORS, FIGURES = "tensors.safetensors", "state.json"


@dataclass
class TrainingState:
    """All that an epoch hands to the next one; random numbers come from the seed and the epoch.

    Attributes:
        model: what is trained.
        optimizer: its descent, with the momentum.
        average: the moving average of the model's tensors by name; empty where none is kept.
        losses, rates: mean loss, and the last learning rate, of each epoch done.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]
    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)


def save_state(folder: Path, state: TrainingState, made_from: dict[str, Any]) -> None:
    """Write the state; `made_from`, JSON values, says which training it belongs to."""
    tensors = {f"model.{name}": value for name, value in state.model.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in state.average.items()}
    for number, weight in enumerate(_weights(state)):
        if "momentum_buffer" in state.optimizer.state[weight]:
            tensors[f"momentum.{number}"] = state.optimizer.state[weight]["momentum_buffer"]
    plain = torch.contiguous_format  # safetensors takes neither channels_last nor shared memory
    whole = {k: v.detach().cpu().clone(memory_format=plain) for k, v in tensors.items()}
    with replace_directory(folder) as aside:
        save_file(whole, aside / TENSORS)
        figures = {"losses": state.losses, "rates": state.rates, "made_from": made_from}
        write_json(aside / FIGURES, figures)


def load_state(folder: Path, state: TrainingState, made_from: dict[str, Any]) -> bool:
    """Fill `state` from the folder; False, and nothing filled, if it holds no such training.

    Raises:
        BadInput: what lies there is damaged.
    """
    if not (folder / FIGURES).exists():
        return False
    try:
        figures = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
        if figures["made_from"] != made_from:
            return False
        tensors = load_file(folder / TENSORS)
        state.model.load_state_dict(_under("model.", tensors))
        for name, value in _under("average.", tensors).items():
            state.average[name].copy_(value)
        momentum = _under("momentum.", tensors)
        for number, weight in enumerate(_weights(state)):
            if str(number) in momentum:
                buffer = torch.empty_like(weight).copy_(momentum[str(number)])
                state.optimizer.state[weight]["momentum_buffer"] = buffer
        state.losses, state.rates = list(figures["losses"]), list(figures["rates"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(
            f"{folder}: a damaged checkpoint, delete it to start anew: {reason}"
        ) from None
    return True


def sum_of(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of named tensors, as hexadecimal."""
    digest = hashlib.sha256()
    for name, value in tensors.items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _weights(state: TrainingState) -> list[Tensor]:
    return [weight for group in state.optimizer.param_groups for weight in group["params"]]


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
