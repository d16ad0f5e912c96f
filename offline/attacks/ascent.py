"""The one loop of every gradient attack: loss → gradient → direction → step → projection.

What is stepped on is a dictionary of named tensors: the pixels of images, or the pose, the
translation and the vertices of scenes. The attacks differ in their `Move`s and in what they raise.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from guard.errors import BadInput
from offline.attacks.moves import Move, of_rows

__all__ = ["Feasible", "Judge", "Judgement", "ascend"]

TRIES = 5
"""A step that leads out of the feasible set is halved so often less one, then it is not taken."""


class Judgement(NamedTuple):
    """What is said of each row: the value to raise, and whether the row is done (None: never)."""

    value: Float[Tensor, " row"]
    done: Bool[Tensor, " row"] | None = None


Judge = Callable[[dict[str, Tensor], Tensor], Judgement]
"""(the tensors of some rows, which rows of the batch they are) to a judgement of each."""

Feasible = Callable[[dict[str, Tensor], Tensor], Tensor]
"""(the tensors of some rows, which rows of the batch they are) to bool [row]."""


def ascend(
    judge: Judge,
    origin: Mapping[str, Float[Tensor, "batch ..."]],
    moves: Mapping[str, Move],
    iterations: int,
    *,
    generator: torch.Generator | None = None,
    feasible: Feasible | None = None,
) -> dict[str, Float[Tensor, "batch ..."]]:
    """Raise `judge`'s value, each row of the batch by itself: 000, equations 1 to 3; 004, 2.6, 2.7.

    A row that is done keeps its tensors and leaves the batch. A step that leads out of the feasible
    set is halved until it does not: the projection of equation 3 onto a set that can only be asked.
    After `TRIES` the row stays where it is.

    Args:
        judge: gives the value to raise. Its value of a row may depend on that row alone.
        origin: where the attack starts, by name; each is [batch, ...] and is not written to.
        moves: how each of them moves.
        iterations: how many steps are taken at the most.
        generator: where given, the start is drawn uniformly from each move's ball and box.
        feasible: says which rows lie in the feasible set; every row does where it is None.

    Returns:
        The perturbed tensors, under the names of `moves`.

    Raises:
        BadInput: the value has no gradient.
    """
    begin = {name: origin[name].detach() for name in moves}
    reached = {name: _start(begin[name], move, generator) for name, move in moves.items()}
    steppers = {name: move.stepper(begin[name]) for name, move in moves.items()}
    some = next(iter(begin.values()))
    rows = torch.arange(len(some), device=some.device)
    for _ in range(iterations):
        current = {name: of_rows(tensor, rows).detach() for name, tensor in reached.items()}
        for tensor in current.values():
            tensor.requires_grad_()
        value, done = judge(current, rows)
        if done is not None and bool(done.all()):
            break
        gradients = _gradients(value, current)
        going = slice(None) if done is None else ~done
        rows = rows[going]
        start = {name: tensor.detach()[going] for name, tensor in current.items()}
        ahead = {
            name: step(start[name], gradients[name][going], rows) for name, step in steppers.items()
        }
        if feasible is not None:
            ahead = _shortened(start, ahead, rows, feasible)
        for name, tensor in ahead.items():
            if len(rows) == len(some):
                reached[name] = tensor
            else:
                reached[name][rows] = tensor
    return reached


def _gradients(value: Tensor, current: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradient of each row's value in its tensors; 0 where it is not finite."""
    if not value.requires_grad:
        raise BadInput(
            f"what is to be raised has no gradient in {', '.join(current)}: the model, or what "
            "makes its images, cuts it off"
        )
    found = torch.autograd.grad(value.sum(), list(current.values()), materialize_grads=True)
    return {
        name: gradient.nan_to_num(0.0, 0.0, 0.0)
        for name, gradient in zip(current, found, strict=True)
    }


def _shortened(
    start: dict[str, Tensor], ahead: dict[str, Tensor], rows: Tensor, feasible: Feasible
) -> dict[str, Tensor]:
    """Return where rows step, each as far ahead as it is allowed to."""
    reached = {name: tensor.clone() for name, tensor in start.items()}
    left = torch.arange(len(rows), device=rows.device)
    for halvings in range(TRIES):
        tried = {
            name: of_rows(tensor, left).lerp(of_rows(ahead[name], left), 0.5**halvings)
            for name, tensor in start.items()
        }
        allowed = feasible(tried, rows[left])
        for name, tensor in tried.items():
            reached[name][left[allowed]] = tensor[allowed]
        left = left[~allowed]
        if not len(left):
            break
    return reached


def _start(begin: Tensor, move: Move, generator: torch.Generator | None) -> Tensor:
    if generator is None or move.bound is None:
        return begin.clone()
    # Drawn where the generator lives, so that one seed gives one start on every device.
    noise = torch.empty(begin.shape, device=generator.device, dtype=begin.dtype)
    noise.uniform_(-move.bound, move.bound, generator=generator)
    return move.project(begin + noise.to(begin.device), begin)
