"""What a scene's image shows, pixel by pixel and object by object. Nothing here has a gradient."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from offline.rendering.camera import to_camera, to_screen, to_world
from offline.rendering.rasterizer.visibility import visible_faces
from offline.rendering.scene import Scene

__all__ = ["Annotations", "annotate"]


class Annotations(NamedTuple):
    """The ground truth of a batch of images, as their pixel centres see the scenes."""

    label: Int64[Tensor, " batch"]
    """Class of the subject."""
    instances: Int64[Tensor, "batch height width"]
    """Object that each pixel shows; -1: the background."""
    segmentation: Int64[Tensor, "batch height width"]
    """Class of that object; -1: the background, or scenery without a class."""
    boxes: Float[Tensor, "batch object 4"]
    """Left, upper, right and lower border (x0, y0, x1, y1) of the pixels that show each object, in
    pixels from the image's upper left corner, so that one pixel is 1 wide; NaN where none does."""
    visible: Float[Tensor, "batch object"]
    """Of the pixels that an object would cover alone, the share that show it; 0: it covers none."""
    depth: Float[Tensor, "batch height width"]
    """Distance along the camera's view, not along the ray; infinite where there is no object."""


@torch.no_grad()
def annotate(scene: Scene, height: int, width: int) -> Annotations:
    """Return the ground truth of images of `height` x `width` pixels.

    A pixel counts as what its centre shows, by the same visibility as the rasterizer's image.
    Scenes do not affect each other. An object is 0 to `scene.pose.shape[1]` - 1.
    """
    objects = scene.pose.shape[1]
    positions = to_camera(to_world(scene), scene.camera)
    screen = to_screen(positions, scene.camera[:, 3], height, width)
    faces, inverse = visible_faces(screen, scene.faces, height, width)
    # The object of each face; the last, -1, is for the pixels that show none.
    owner = torch.nn.functional.pad(scene.face_owners(), (0, 1), value=-1)
    shown = faces.flatten(1) % owner.shape[1]
    instances = owner.gather(1, shown)
    classes = torch.nn.functional.pad(scene.classes, (0, 1), value=-1)
    segmentation = classes.gather(1, instances % (objects + 1))
    slot = torch.where(instances < 0, objects, instances)
    seen = _counts(slot, objects)
    alone = torch.stack([_covered(scene[i], screen[i : i + 1], height, width)
                         for i in range(len(scene))])  # fmt: skip
    sizes = (-1, height, width)
    return Annotations(
        label=scene.classes[:, 0],
        instances=instances.view(sizes),
        segmentation=segmentation.view(sizes),
        boxes=_boxes(slot, objects, height, width).to(screen.dtype),
        visible=(seen / alone.clamp_min(1)).to(screen.dtype),
        depth=torch.where(faces < 0, torch.inf, 1 / inverse.where(faces >= 0, 1)),
    )


def _counts(slot: Tensor, objects: int) -> Tensor:
    """Count the pixels of each object: [batch, object]."""
    counts = slot.new_zeros(len(slot), objects + 1)
    return counts.scatter_add_(1, slot, torch.ones_like(slot))[:, :objects]


def _covered(scene: Scene, screen: Tensor, height: int, width: int) -> Tensor:
    """Count the pixels that each object of one scene covers when it is alone: [object].

    Objects are a batch, in as many parts as keep its images small.
    """
    objects = scene.pose.shape[1]
    faces = scene.faces[0]
    faces = faces[faces[:, 0] >= 0]
    owner = scene.owners[0][faces[:, 0]]
    order = owner.argsort(stable=True)
    counts = torch.bincount(owner, minlength=objects)
    first = counts.cumsum(0) - counts
    place = torch.arange(len(faces), device=faces.device) - first[owner[order]]
    table = faces.new_full((objects, int(counts.max()), 3), -1)
    table[owner[order], place] = faces[order]
    at_once = max(1, _PIXELS_AT_ONCE // (height * width))
    found = [
        (visible_faces(screen.expand(len(part), -1, -1), part, height, width)[0] >= 0).sum((1, 2))
        for part in table.split(at_once)
    ]
    return torch.cat(found)


_PIXELS_AT_ONCE = 1 << 22


def _boxes(slot: Tensor, objects: int, height: int, width: int) -> Tensor:
    pixel = torch.arange(height * width, device=slot.device).expand_as(slot)
    borders = []
    for place, size in ((pixel % width, width), (pixel // width, height)):
        low = place.new_full((len(slot), objects + 1), size)
        high = place.new_full((len(slot), objects + 1), -1)
        borders.append(low.scatter_reduce_(1, slot, place, "amin"))
        borders.append(high.scatter_reduce_(1, slot, place, "amax") + 1)
    left, right, upper, lower = borders
    boxes = torch.stack((left, upper, right, lower), dim=2)[:, :objects].double()
    return boxes.masked_fill((right <= left)[:, :objects, None], torch.nan)
