"""The one loop of every gradient attack: loss → gradient → direction → step → projection.

What is stepped on is a dictionary of named tensors: the pixels of images, or the pose, the
translation and the vertices of scenes. The attacks differ in their `Move`s and in what they raise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = [
    "AdamMove",
    "Feasible",
    "Judge",
    "Judgement",
    "Move",
    "Stepper",
    "ascend",
    "raw",
    "sign",
    "unit",
]


def sign(gradient: Float[Tensor, "row ..."]) -> Float[Tensor, "row ..."]:
    """sgn(g), the steepest direction under the l∞ norm."""
    return gradient.sign()


def raw(gradient: Float[Tensor, "row ..."]) -> Float[Tensor, "row ..."]:
    """g itself: a step as long as the gradient."""
    return gradient


def unit(gradient: Float[Tensor, "row ..."]) -> Float[Tensor, "row ..."]:
    """g / ‖g‖₂ of each row, the steepest direction under the l2 norm; 0 where g is 0."""
    lengths = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    lengths = lengths.clamp_min(torch.finfo(gradient.dtype).tiny)
    scaled: Tensor = gradient / lengths.view(-1, *[1] * (gradient.ndim - 1))
    return scaled


Stepper = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(current values of some rows, their gradient, which rows of the batch) to where they step."""


@dataclass(frozen=True)
class Move:
    """How one named tensor moves.

    Attributes:
        step: the step size, in the tensor's own unit.
        direction: what becomes of the gradient: `sign`, `raw` or `unit`.
        bound: radius of the l∞ ball around the origin that the tensor stays in; none if None.
        box: the least and the greatest value that any element may have; none if None.
    """

    step: float
    direction: Callable[[Tensor], Tensor] = sign
    bound: float | None = None
    box: tuple[float, float] | None = None

    def project(
        self, moved: Float[Tensor, "row ..."], origin: Float[Tensor, "row ..."]
    ) -> Float[Tensor, "row ..."]:
        """Return the nearest point in the ball around `origin` and in the box."""
        if self.bound is not None:
            moved = origin + (moved - origin).clamp(-self.bound, self.bound)
        return moved if self.box is None else moved.clamp(*self.box)

    def stepper(self, origin: Float[Tensor, "batch ..."]) -> Stepper:
        """Return the step from where a row is: along the direction, and projected."""

        def step(current: Tensor, gradient: Tensor, rows: Tensor) -> Tensor:
            moved = current + self.step * self.direction(gradient)
            return self.project(moved, _of(rows, origin))

        return step


@dataclass(frozen=True)
class AdamMove(Move):
    """Adam (Kingma & Ba 2015) in tanh space, as Carlini & Wagner descend (2017, section V-B).

    With a `bound` ε the tensor is origin + ε tanh(w / ε), which never leaves the ball, and Adam
    moves w; without one it moves the tensor. `step` is the learning rate η; `direction` is unused.
    """

    betas: tuple[float, float] = (0.9, 0.999)

    def stepper(self, origin: Float[Tensor, "batch ..."]) -> Stepper:
        """Return the step of Adam, whose moments are those of this start."""
        first, second, taken = torch.zeros_like(origin), torch.zeros_like(origin), 0
        largest = 1 - torch.finfo(origin.dtype).eps  # atanh(1) is infinite

        def step(current: Tensor, gradient: Tensor, rows: Tensor) -> Tensor:
            nonlocal taken
            taken += 1
            start = _of(rows, origin)
            inside = (current - start) / (self.bound or 1)
            if self.bound is not None:
                inside = inside.clamp(-largest, largest)
                gradient = gradient * (1 - inside.square())
            first[rows] = torch.lerp(gradient, first[rows], self.betas[0])
            second[rows] = torch.lerp(gradient.square(), second[rows], self.betas[1])
            mean = first[rows] / (1 - self.betas[0] ** taken)
            spread = (second[rows] / (1 - self.betas[1] ** taken)).sqrt()
            ahead = self.step * mean / (spread + 1e-8)
            if self.bound is None:
                return self.project(current + ahead, start)
            moved = (inside.atanh() + ahead / self.bound).tanh() * self.bound
            return self.project(start + moved, start)

        return step


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

    A row that is done keeps its tensors and leaves the batch. A step onto a point that is not
    feasible is not taken, and the row's later steps are half as long.

    Args:
        judge: gives the value to raise. Its value of a row may depend on that row alone.
        origin: where the attack starts, by name; each is [batch, ...] and is not written to.
        moves: how each of them moves.
        iterations: how many steps are taken at the most.
        generator: where given, the start is drawn uniformly from each move's ball and box.
        feasible: says which rows lie in the feasible set; every row does where it is None.

    Returns:
        The perturbed tensors, under the names of `moves`.
    """
    begin = {name: origin[name].detach() for name in moves}
    reached = {name: _start(begin[name], move, generator) for name, move in moves.items()}
    steppers = {name: move.stepper(begin[name]) for name, move in moves.items()}
    some = next(iter(begin.values()))
    rows = torch.arange(len(some), device=some.device)
    reach = torch.ones(len(some), device=some.device)
    for _ in range(iterations):
        current = {name: _of(rows, tensor).detach() for name, tensor in reached.items()}
        for tensor in current.values():
            tensor.requires_grad_()
        value, done = judge(current, rows)
        if done is not None and bool(done.all()):
            break
        gradients = torch.autograd.grad(value.sum(), list(current.values()), materialize_grads=True)
        going = slice(None) if done is None else ~done
        rows = rows[going]
        moved = {}
        for (name, stepper), gradient in zip(steppers.items(), gradients, strict=True):
            start = current[name].detach()[going]
            ahead = stepper(start, gradient[going].nan_to_num(0.0, 0.0, 0.0), rows)
            if feasible is not None:
                ahead = start.lerp(ahead, reach[rows].view(-1, *[1] * (ahead.ndim - 1)))
            moved[name] = ahead
        taken = rows
        if feasible is not None:
            allowed = feasible(moved, rows)
            reach[rows[~allowed]] /= 2
            taken, moved = rows[allowed], {name: t[allowed] for name, t in moved.items()}
        for name, tensor in moved.items():
            if len(taken) == len(reached[name]):
                reached[name] = tensor
            else:
                reached[name][taken] = tensor
    return reached


def _of(rows: Tensor, tensor: Tensor) -> Tensor:
    """Return some rows, in ascending order; without a copy, which would cost, where it is all."""
    return tensor if len(rows) == len(tensor) else tensor[rows]


def _start(begin: Tensor, move: Move, generator: torch.Generator | None) -> Tensor:
    if generator is None or move.bound is None:
        return begin.clone()
    # Drawn where the generator lives, so that one seed gives one start on every device.
    noise = torch.empty(begin.shape, device=generator.device, dtype=begin.dtype)
    noise.uniform_(-move.bound, move.bound, generator=generator)
    return move.project(begin + noise.to(begin.device), begin)
