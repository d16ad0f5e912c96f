"""Scenes without the padding of the batch that they came in."""

import torch
from torch import Tensor

from guard.errors import BadInput
from offline.rendering.scene import Scene

__all__ = ["trimmed"]


def trimmed(*versions: Scene) -> tuple[Scene, ...]:
    """Return versions of one scene, each a batch of one, without what none of them needs.

    Vertices that no face or edge has, objects without any and lamps that give no light go too. All
    versions are cut alike: what is at a place in one of them is there in the others.

    Raises:
        BadInput: a version is not one scene, or has other faces than the first.
    """
    first = versions[0]
    for version in versions:
        if len(version) != 1 or not torch.equal(version.faces, first.faces):
            raise BadInput("versions of one scene are wanted, with the same faces")
    kept = _kept(first, torch.stack([version.lamps for version in versions]))
    return tuple(
        Scene(
            **{name: value[_corner(kept.get(name, ()))] for name, value in each.tensors().items()}
        )
        for each in versions
    )


def _kept(scene: Scene, lamps: Tensor) -> dict[str, tuple[int, ...]]:
    """Return how much of each tensor is kept, along its first axes after the batch."""
    faces, edges = _used(scene.faces >= 0), _used(scene.edges >= 0)
    vertices = 1 + max(_largest(scene.faces), _largest(scene.edges[..., :2]))
    owners = scene.owners[:, :vertices]
    objects = max(1 + _largest(owners), _used(scene.classes >= 0))
    tiles = _used(scene.tiles >= 0)
    ends = scene.tiles[0, :tiles, :2] + scene.tiles[0, :tiles, 2:]
    rows, columns = ends.amax(dim=0).tolist() if tiles else (0, 0)
    painted = _used(scene.tile >= 0)
    of_objects = ("classes", "gloss", "pose", "translation", "scale", "colour")
    return {
        **dict.fromkeys(("points", "owners", "vertices"), (vertices,)),
        **dict.fromkeys(("faces", "face_colours"), (faces,)),
        **dict.fromkeys(("uv", "tile"), (painted,)),
        **dict.fromkeys(of_objects, (objects,)),
        "edges": (edges,),
        "smoothing": (_used(scene.smoothing >= 0),),
        "tiles": (tiles,),
        "texture": (3, rows, columns),
        "lamps": (_used(lamps.flatten(0, 1) != 0),),
    }


def _used(there: Tensor) -> int:
    """Return up to where, along the axis after the batch, something is there."""
    places = there.movedim(1, 0).flatten(1).any(dim=1).nonzero() if there.numel() else there
    return 1 + int(places.max()) if places.numel() else 0


def _largest(numbers: Tensor) -> int:
    return int(numbers.max()) if numbers.numel() else -1


def _corner(sizes: tuple[int, ...]) -> tuple[slice, ...]:
    return (slice(None), *(slice(size) for size in sizes))
