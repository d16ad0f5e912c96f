"""How a gradient attack moves: the direction and length of a step, and where it may lead."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["AdamMove", "Bound", "Move", "Stepper", "of_rows", "raw", "sign", "unit"]

Bound = float | tuple[float, ...]
"""One number for all elements, or one for each place along the last axis."""

Stepper = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(current values of some rows, their gradient, which rows of the batch) to where they step."""


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


@dataclass(frozen=True)
class Move:
    """How one named tensor moves.

    Attributes:
        step: the step size, in the tensor's own unit.
        direction: what becomes of the gradient: `sign`, `raw` or `unit`.
        bound: radius of the l∞ ball around the origin that the tensor stays in; none if None.
        box: the least and the greatest value that the elements may have; none if None.
    """

    step: float
    direction: Callable[[Tensor], Tensor] = sign
    bound: float | None = None
    box: tuple[Bound, Bound] | None = None

    def project(
        self, moved: Float[Tensor, "row ..."], origin: Float[Tensor, "row ..."]
    ) -> Float[Tensor, "row ..."]:
        """Return the nearest point in the ball around `origin` and in the box."""
        if self.bound is not None:
            moved = origin + (moved - origin).clamp(-self.bound, self.bound)
        if self.box is not None:
            least, greatest = self.box
            moved = moved.clamp(moved.new_tensor(least), moved.new_tensor(greatest))
        return moved

    def stepper(self, origin: Float[Tensor, "batch ..."]) -> Stepper:
        """Return the step from where a row is: along the direction, and projected."""

        def step(current: Tensor, gradient: Tensor, rows: Tensor) -> Tensor:
            moved = current + self.step * self.direction(gradient)
            return self.project(moved, of_rows(origin, rows))

        return step


@dataclass(frozen=True)
class AdamMove(Move):
    """Adam (Kingma & Ba 2015) in tanh space, as Carlini & Wagner descend (2017, section V-B).

    With a `bound` ε the tensor is origin + ε tanh(w / ε), which never leaves the ball, and Adam
    moves w; without one it moves the tensor. `step` is the learning rate η; `direction` is unused.
    """

    betas: tuple[float, float] = (0.9, 0.999)

    def stepper(self, origin: Float[Tensor, "batch ..."]) -> Stepper:
        """Return the step of Adam. Rows may leave, but each call takes a step of all that remain.

        The moments remember a gradient also where the step that it led to was shortened.
        """
        first, second, taken = torch.zeros_like(origin), torch.zeros_like(origin), 0
        largest = 1 - torch.finfo(origin.dtype).eps  # atanh(1) is infinite

        def step(current: Tensor, gradient: Tensor, rows: Tensor) -> Tensor:
            nonlocal taken
            taken += 1
            start = of_rows(origin, rows)
            inside = torch.zeros_like(start)
            if self.bound is not None:
                inside = ((current - start) / self.bound).clamp(-largest, largest)
                gradient = gradient * (1 - inside.square())
            mean = first[rows].lerp(gradient, 1 - self.betas[0])
            square = second[rows].lerp(gradient.square(), 1 - self.betas[1])
            first[rows], second[rows] = mean, square
            spread = (square / (1 - self.betas[1] ** taken)).sqrt() + 1e-8
            ahead = self.step * mean / (1 - self.betas[0] ** taken) / spread
            if self.bound is None:
                return self.project(current + ahead, start)
            w = inside.atanh() + ahead / self.bound
            return self.project(start + w.tanh() * self.bound, start)

        return step


def of_rows(
    tensor: Float[Tensor, "batch ..."], rows: Int64[Tensor, " row"]
) -> Float[Tensor, "row ..."]:
    """Return some rows, in ascending order; without a copy, which would cost, where it is all."""
    return tensor if len(rows) == len(tensor) else tensor[rows]
