"""Feasible sets: where scenes may be moved to (000, equation 3), as functions that combine.

Each is, or returns, a function of scenes to bool [batch]; none has a gradient. What matters of an
object on the ground is the rectangle of its box, turned with it.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from offline.counterexamples.scene_ascent import Feasible
from offline.counterexamples.streets.object_boxes import (
    local_boxes,
    numbers_of,
    of_classes,
    vehicles,
)
from offline.rendering.camera import rotation, to_camera, to_screen
from offline.rendering.scene import Scene
from offline.rendering.streets.models import SIZES
from offline.rendering.streets.parts import KERB
from offline.rendering.streets.settings import HALF

__all__ = [
    "Rectangles",
    "apart",
    "every",
    "ground_rectangles",
    "in_frame",
    "on_the_road",
    "overlaps",
    "standing",
    "street_sets",
    "within_kerbs",
]

WHEELS = 0.8  # share of a vehicle's length between the outer ends of its wheels
TOUCHING = 1e-3  # metres by which rectangles may overlap, for rounding


class Rectangles(NamedTuple):
    """Rectangles on the ground; coordinates are the world's x and z."""

    middle: Float[Tensor, "batch object 2"]
    half: Float[Tensor, "batch object 2"]
    """Half of the length and of the width."""
    axes: Float[Tensor, "batch object 2 2"]
    """The directions, of length 1, of the length and of the width."""


def every(*sets: Feasible) -> Feasible:
    """Return the intersection of feasible sets; of none, all scenes."""

    def within(scenes: Scene) -> Bool[Tensor, " batch"]:
        inside = torch.ones(len(scenes), dtype=torch.bool, device=scenes.pose.device)
        for each in sets:
            inside = inside & each(scenes)
        return inside

    return within


def street_sets(height: int, width: int) -> tuple[Feasible, ...]:
    """Return what is wanted of a street: the subject in the frame, vehicles on the road and apart.

    Args:
        height, width: of the images, in pixels.
    """
    return in_frame(height, width), on_the_road, apart, standing


def in_frame(height: int, width: int, least: float = 0.7) -> Feasible:
    """Return the set of scenes whose image shows `least` of the subject's extent, or more.

    The extent is the rectangle, in the image's plane, about the corners of the subject's box; its
    share within the borders counts. A subject that reaches behind the camera is not in the frame.
    """

    def within(scenes: Scene) -> Bool[Tensor, " batch"]:
        corners = _corners(scenes)
        screen = to_screen(to_camera(corners, scenes.camera), scenes.camera[:, 3], height, width)
        low, high = screen[..., :2].amin(1), screen[..., :2].amax(1)
        # Pixel centres are whole numbers, so borders lie half a pixel further out.
        border = screen.new_tensor((width - 0.5, height - 0.5))
        shown = (torch.minimum(high, border) - low.clamp_min(-0.5)).clamp_min(0).prod(1)
        enough = shown >= least * (high - low).prod(1)
        return enough & (screen[..., 2] > 0).all(1)

    return within


def on_the_road(scenes: Scene) -> Bool[Tensor, " batch"]:
    """Say in which scenes every vehicle has its wheels between the kerbs of its street."""
    middle, reach = _across(scenes)
    outside = middle.abs() + reach > HALF + TOUCHING
    return ~(outside & vehicles(scenes)).any(1)


def within_kerbs(start: Scene, scenes: Scene) -> Scene:
    """Push each vehicle whose wheels are beyond a kerb back across the road: equation 3's Π.

    The nearest place between the kerbs, straight across; a vehicle that began beyond them goes no
    further out. Its gradient is that of the scenes as they came, so that an attack can turn back.
    """
    across = torch.nn.functional.pad(_shift(start, scenes)[..., None], (0, 2))
    return scenes.replace(translation=scenes.translation + across)


def apart(scenes: Scene) -> Bool[Tensor, " batch"]:
    """Say in which scenes no vehicle is inside another thing of size: vehicles, benches, houses.

    Trees and lamps do not count: their boxes are those of crowns and arms; they stand beyond the
    kerbs.
    """
    solid = of_classes(scenes, numbers_of((*SIZES, "building")))
    pairs = solid[:, :, None] & vehicles(scenes)[:, None]
    pairs &= ~torch.eye(pairs.shape[1], dtype=torch.bool, device=pairs.device)
    return ~(overlaps(ground_rectangles(scenes)) & pairs).flatten(1).any(1)


def standing(scenes: Scene) -> Bool[Tensor, " batch"]:
    """Say in which scenes every vehicle stands upright, its wheels on the road or the pavement."""
    tilt = scenes.pose[..., [0, 2]].abs().amax(2) < 0.02
    low, _ = local_boxes(scenes)
    feet = scenes.translation[..., 1] + scenes.scale * low[..., 1]
    grounded = (feet > -0.05) & (feet < KERB + 0.05)
    return ((tilt & grounded) | ~vehicles(scenes)).all(1)


def ground_rectangles(scenes: Scene) -> Rectangles:
    """Return where each object of a scene, upright, stands."""
    low, high = local_boxes(scenes)
    turn = rotation(scenes.pose)
    scale = scenes.scale[..., None]
    middle = (turn @ ((low + high) / 2 * scale)[..., None])[..., 0] + scenes.translation
    axes = torch.nn.functional.normalize(turn[..., [0, 2], :][..., [0, 2]].mT, dim=-1)
    return Rectangles(middle[..., [0, 2]], ((high - low) / 2 * scale)[..., [0, 2]], axes)


def overlaps(found: Rectangles) -> Bool[Tensor, "batch object object"]:
    """Say which rectangles of a scene overlap, by the separating axis test.

    Two convex shapes are apart if and only if a direction that is normal to a side of one of them
    separates their shadows (Gottschalk, Lin and Manocha 1996). What only touches does not overlap.
    """
    between = found.middle[:, :, None] - found.middle[:, None]
    # The shadow of rectangle j along axis k of rectangle i, and that of the way between them.
    cosine = torch.einsum("bikc,bjlc->bijkl", found.axes, found.axes).abs()
    other = (cosine * found.half[:, None, :, None]).sum(-1)
    gap = torch.einsum("bijc,bikc->bijk", between, found.axes).abs()
    gap = gap - found.half[:, :, None] - other
    deep = (gap < -TOUCHING).all(-1)
    return deep & deep.mT


@torch.no_grad()
def _shift(start: Scene, scenes: Scene) -> Float[Tensor, "batch object"]:
    before, reach_before = _across(start)
    middle, reach = _across(scenes)
    room = ((before.abs() + reach_before).clamp_min(HALF) - reach).clamp_min(0)
    return (middle.clamp(-room, room) - middle) * vehicles(scenes)


def _across(scenes: Scene) -> tuple[Float[Tensor, "batch object"], Float[Tensor, "batch object"]]:
    """Return the middle of each object across the road, and how far its wheels are from there."""
    found = ground_rectangles(scenes)
    half = found.half * found.half.new_tensor((WHEELS, 1.0))
    return found.middle[..., 0], (half[..., None] * found.axes).abs().sum(2)[..., 0]


def _corners(scenes: Scene) -> Float[Tensor, "batch 8 3"]:
    """Return the corners of the subject's box, in the world."""
    low, high = (side[:, 0] for side in local_boxes(scenes))
    bits = torch.tensor([[i >> k & 1 for k in range(3)] for i in range(8)], device=low.device)
    corners = torch.where(bits == 1, high[:, None], low[:, None]) * scenes.scale[:, :1, None]
    return corners @ rotation(scenes.pose[:, 0]).mT + scenes.translation[:, :1]
