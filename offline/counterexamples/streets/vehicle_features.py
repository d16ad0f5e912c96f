"""What moves of vehicles: their place on the ground, their heading, and their shape (001, 4.1).

Each is a code of every vehicle, 0 where it was; what is no vehicle stays, and its code has no
gradient. Units are ours where those of the seed, codes of 3D-SDN's networks, mean nothing outside
of them; each docstring says which. They were chosen by looking at streets that judge nothing: after
6 steps of table 12 vehicles look like vehicles on a road, and a detector that is robust to one of
the features is not robust to all three.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from offline.counterexamples.streets.object_boxes import local_boxes, vehicles
from offline.rendering.scene import Scene

__all__ = ["LATTICE", "Deformation", "Heading", "Place", "free_form"]

LATTICE = 4
"""Control points along each side of a vehicle's box, as in 3D-SDN."""
DISTANCES, TURN, SIDES = 2.0, 18.0, 1.25
"""What the codes' units are: of `Place` in distances, of `Heading` in radians, of `Deformation` in
sides of a vehicle's box."""


@dataclass(frozen=True)
class Place:
    """Where a vehicle is on the ground: x and z, in two of its distances from the camera.

    So 0.01 moves it as far in the picture whether it is near or not, and 0.01 along the view is a
    step of 0.02 in its logarithmic depth, a code of 3D-SDN.
    """

    box: tuple[float, float] | None = None

    def start(self, scenes: Scene) -> Float[Tensor, "batch object 2"]:
        """Return zeros."""
        return torch.zeros_like(scenes.translation[..., :2])

    def apply(self, scenes: Scene, value: Float[Tensor, "batch object 2"]) -> Scene:
        """Move the vehicles."""
        away = DISTANCES * vehicles(scenes) * _distance(scenes)
        moves = torch.stack(
            (value[..., 0] * away, torch.zeros_like(away), value[..., 1] * away), -1
        )
        return scenes.replace(translation=scenes.translation + moves)


@dataclass(frozen=True)
class Heading:
    """Where a vehicle's front points, about the vertical, in 18 radians: 0.01 is 10 degrees."""

    box: tuple[float, float] | None = None

    def start(self, scenes: Scene) -> Float[Tensor, "batch object"]:
        """Return zeros."""
        return torch.zeros_like(scenes.scale)

    def apply(self, scenes: Scene, value: Float[Tensor, "batch object"]) -> Scene:
        """Turn the vehicles."""
        turn = TURN * value * vehicles(scenes)
        return scenes.replace(pose=scenes.pose + torch.nn.functional.pad(turn[..., None], (1, 1)))


@dataclass(frozen=True)
class Deformation:
    """The shape of a vehicle: free-form deformation, in 5/4 of the sides of its box.

    4 x 4 x 4 control points with Bernstein's weights (Sederberg and Parry 1986), as 3D-SDN's mesh
    code, of the same unit and symmetric about the same plane, so that left and right stay alike.
    The lowest control points do not move up or down: wheels stay on the ground.
    """

    box: tuple[float, float] | None = None

    def start(self, scenes: Scene) -> Float[Tensor, "batch object 4 4 4 3"]:
        """Return zeros."""
        shape = (*scenes.scale.shape, LATTICE, LATTICE, LATTICE, 3)
        return scenes.scale.new_zeros(shape)

    def apply(self, scenes: Scene, value: Float[Tensor, "batch object 4 4 4 3"]) -> Scene:
        """Move the vehicles' vertices."""
        low, high = local_boxes(scenes, deformed=False)
        side = (high - low).clamp_min(1e-6)
        row, vertex = vehicles(scenes).gather(1, scenes.owners).nonzero(as_tuple=True)
        owner = scenes.owners[row, vertex]
        inside = (scenes.points[row, vertex] - low[row, owner]) / side[row, owner]
        control = SIDES * _standing(_symmetric(value))
        moves = free_form(inside.clamp(0, 1), control[row, owner]) * side[row, owner]
        offsets = scenes.vertices.index_put((row, vertex), moves, accumulate=True)
        return scenes.replace(vertices=offsets)


def free_form(
    inside: Float[Tensor, "point 3"], control: Float[Tensor, "point n n n 3"]
) -> Float[Tensor, "point 3"]:
    """Return Σ B_i(x) B_j(y) B_k(z) · control_ijk: how far control points move each point.

    Args:
        inside: places in the unit cube.
        control: the moves of n³ control points, for each point its own.
    """
    degree = control.shape[1] - 1
    power = torch.arange(degree + 1, device=inside.device)
    choose = inside.new_tensor([math.comb(degree, int(i)) for i in power])
    weights = choose * inside[..., None] ** power * (1 - inside[..., None]) ** (degree - power)
    x, y, z = weights.unbind(1)
    moves: Tensor = torch.einsum("pi,pj,pk,pijkc->pc", x, y, z, control)
    return moves


def _distance(scenes: Scene) -> Float[Tensor, "batch object"]:
    """Metres over the ground from the camera's eye to each object; no gradient."""
    camera = scenes.camera.detach()
    flat = camera[:, 0] * camera[:, 2].cos()
    eye_x = camera[:, 5] + flat * camera[:, 1].sin()
    eye_z = camera[:, 7] + flat * camera[:, 1].cos()
    place = scenes.translation.detach()
    return torch.hypot(place[..., 0] - eye_x[:, None], place[..., 2] - eye_z[:, None])


def _symmetric(control: Tensor) -> Tensor:
    """Return the nearest moves that are mirror images about the plane z = 0 of a vehicle."""
    mirrored = control.flip(-2) * control.new_tensor((1, 1, -1))
    return (control + mirrored) / 2


def _standing(control: Tensor) -> Tensor:
    """Keep the lowest control points where they are, up and down."""
    kept = torch.ones(control.shape[-4:], dtype=control.dtype, device=control.device)
    kept[:, 0, :, 1] = 0
    return control * kept
