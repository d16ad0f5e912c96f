"""One trainer for plain and for adversarial training; the loss of a batch tells them apart."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from guard.errors import BadInput, CornerguardError
from guard.progress import track
from offline.datasets import ImageSet, batches
from offline.hardening.checkpoint import TrainingState, load_state, save_state, sum_of
from offline.hardening.losses import standard_loss
from offline.hardening.training_settings import TrainSettings, augmented, learning_rate_at

__all__ = ["BatchLoss", "TrainingHistory", "plain", "train"]

BatchLoss = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]
"""(model in training mode, images, labels, generator on the CPU) to the loss of a batch."""


class TrainingHistory(NamedTuple):
    """What each epoch came to: the mean loss of its batches, the learning rate of its last step."""

    losses: tuple[float, ...]
    rates: tuple[float, ...]


def plain(
    model: nn.Module,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, " batch"],
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """Return the loss of plain training: empirical risk minimisation, no inner maximisation."""
    return standard_loss(model(images).float(), labels)


def train(
    model: nn.Module,
    image_set: ImageSet,
    settings: TrainSettings,
    seed: int,
    device: torch.device | str = "cpu",
    *,
    batch_loss: BatchLoss = plain,
    checkpoint: Path | None = None,
) -> TrainingHistory:
    """Train `model` in place; it ends on `device`, in eval mode.

    On the CPU, the same seed and number of threads give the same weights bit for bit, also when
    the training was killed and resumed from `checkpoint`. Layers that draw random numbers, dropout
    for example, draw from the seed too; torch's own generators are left as they were.

    Args:
        model: images to logits.
        image_set: the training images.
        settings: epochs, descent, schedule, augmentation.
        seed: of everything random.
        device: where the model is trained.
        batch_loss: the loss that is descended.
        checkpoint: a folder that is written after each epoch. A training that finds its own there
            goes on from it; another's is replaced.

    Raises:
        BadInput: fewer than two images, or a damaged checkpoint.
        CornerguardError: the training diverged; the message names the epoch and the step.
    """
    device = torch.device(device)
    if len(image_set) < 2:
        raise BadInput(f"training wants at least two images, the set has {len(image_set)}")
    made_from = _made_from(model, image_set, settings, seed)
    model.to(device).to(memory_format=_layout(device))
    state = _fresh_state(model, settings)
    if checkpoint is not None:
        load_state(checkpoint, state, made_from)
    steps = _steps_per_epoch(len(image_set), settings.batch_size)
    left = (settings.epochs - len(state.losses)) * steps
    work = _work(image_set, settings, seed, len(state.losses))
    losses: list[float] = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        model.train()
        for epoch, step, noise, images, labels in track(work, "training", left):
            if step == 0:
                torch.manual_seed(_seed_of(seed, epoch, "layers"))
                losses = []
            rate = learning_rate_at(epoch * steps + step, settings.epochs * steps, settings)
            images, labels = images.to(device), labels.to(device)
            images = augmented(images, settings.augmentation, noise)
            loss = _descend(state, images, labels, noise, rate, settings, batch_loss)
            if not math.isfinite(loss):
                raise _diverged(f"loss is {loss}", epoch, step)
            losses.append(loss)
            if step == steps - 1:
                if not all(bool(value.isfinite().all()) for value in model.state_dict().values()):
                    raise _diverged("weights are not finite", epoch, step)
                state.losses.append(math.fsum(losses) / steps)
                state.rates.append(rate)
                if checkpoint is not None:
                    save_state(checkpoint, state, made_from)
    if state.average:
        model.load_state_dict(state.average)
    model.to(memory_format=torch.contiguous_format)
    model.eval()
    return TrainingHistory(tuple(state.losses), tuple(state.rates))


def _descend(
    state: TrainingState,
    images: Tensor,
    labels: Tensor,
    noise: torch.Generator,
    rate: float,
    settings: TrainSettings,
    batch_loss: BatchLoss,
) -> float:
    """Take one step of the descent, and return the loss before it."""
    model, optimizer = state.model, state.optimizer
    images = images.contiguous(memory_format=_layout(images.device))
    low = settings.precision == "bfloat16"
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=low):
        loss = batch_loss(model, images, labels, noise)
    optimizer.zero_grad()
    loss.backward()
    if settings.clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    current = model.state_dict()
    for name, average in state.average.items():
        if average.is_floating_point():
            average.lerp_(current[name], 1 - (settings.average or 0.0))
        else:
            average.copy_(current[name])
    return loss.item()


def _layout(device: torch.device) -> torch.memory_format:
    """Return the layout of convolutions: on CPUs torch 2.15 writes beyond its buffers in the other.

    Seen in the backward pass of few channels and odd batches, 11 images for example.
    """
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def _work(
    image_set: ImageSet, settings: TrainSettings, seed: int, first: int
) -> Iterator[tuple[int, int, torch.Generator, Tensor, Tensor]]:
    """Yield epoch, step, the epoch's generator, images and labels, from epoch `first` on.

    Every epoch draws from generators of its own, so that none depends on the ones before.
    """
    for epoch in range(first, settings.epochs):
        order = torch.Generator().manual_seed(_seed_of(seed, epoch, "order"))
        noise = torch.Generator().manual_seed(_seed_of(seed, epoch, "noise"))
        shuffled = batches(image_set, settings.batch_size, order)
        for step, (images, labels) in enumerate(shuffled):
            if len(labels) > 1:
                yield epoch, step, noise, images, labels


def _steps_per_epoch(images: int, batch_size: int) -> int:
    """Count the batches. A last one of a single image is left out: it has no variance to norm."""
    return images // batch_size + (images % batch_size > 1)


def _seed_of(seed: int, epoch: int, purpose: str) -> int:
    sequence = np.random.SeedSequence([seed, epoch, *purpose.encode()])
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def _fresh_state(model: nn.Module, settings: TrainSettings) -> TrainingState:
    optimizer = torch.optim.SGD(
        (weight for weight in model.parameters() if weight.requires_grad),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=True,
    )
    kept = model.state_dict() if settings.average is not None else {}
    return TrainingState(model, optimizer, {name: value.clone() for name, value in kept.items()})


def _made_from(
    model: nn.Module, image_set: ImageSet, settings: TrainSettings, seed: int
) -> dict[str, Any]:
    labelled = {"labels": image_set.labels, "shape": torch.tensor(image_set.shape)}
    return {
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
        "start": sum_of(model.state_dict()),
        "images": sum_of(labelled),
    }


def _diverged(what: str, epoch: int, step: int) -> CornerguardError:
    return CornerguardError(
        f"training diverged: the {what} in epoch {epoch + 1}, step {step + 1}; "
        "a lower learning_rate or a `clip` may help"
    )
