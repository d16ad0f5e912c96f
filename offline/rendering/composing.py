"""From meshes to scenes: the objects of a scene share its arrays, and its pictures one atlas."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from guard.errors import BadInput
from offline.rendering.atlas import pack
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.scene import Scene, concatenate

__all__ = ["compose", "single", "uniform_environment"]

Number = float | int


def single(
    meshes: Sequence[Mesh],
    *,
    camera: Sequence[Number] = (3.5, 0.6, 0.35, 0.7),
    light: Sequence[Number] = (0.4, 1.0, 0.6, 0.7),
    ambient: Number = 0.4,
    gloss: Number = 0.0,
    background: Sequence[Number] = (1.0, 1.0, 1.0),
) -> Scene:
    """Put each mesh into a scene of its own, all under the same camera and light.

    Args:
        meshes: the subjects, of class 0 each.
        camera: distance, azimuth, elevation, vertical field of view; it looks at the origin.
        light: direction towards the light (x, y, z) and its strength, which is white.
        ambient: the same white light from everywhere.
        gloss: as in `Scene`.
        background: RGB of all that shows no object.
    """
    scene = compose([[mesh] for mesh in meshes])
    batch = len(scene)

    def repeated(*values: Number) -> Tensor:
        return scene.points.new_tensor(values).repeat(batch, 1)

    placed = scene.replace(
        camera=repeated(*camera, 0, 0, 0, 0),
        light=repeated(*light, light[3], light[3]),
        environment=uniform_environment(repeated(ambient, ambient, ambient)),
        background=repeated(*background)[:, :, None, None],
    )
    return placed.with_gloss(torch.full_like(scene.gloss, gloss))


def compose(
    objects: Sequence[Sequence[Mesh]], classes: Sequence[Sequence[int]] | None = None
) -> Scene:
    """Put several meshes into each scene, where they were made, in white light from everywhere.

    Args:
        objects: the meshes of each scene, its subject first.
        classes: their classes; all 0 where it is left out.

    Raises:
        BadInput: there is no scene, or one without a mesh, or not one class for each mesh.
    """
    if not objects or not all(objects):
        raise BadInput("a scene wants at least one mesh, there is none")
    classes = [[0] * len(meshes) for meshes in objects] if classes is None else classes
    if [len(row) for row in classes] != [len(meshes) for meshes in objects]:
        raise BadInput("one class for each mesh is wanted")
    return concatenate([_scene(*each) for each in zip(objects, classes, strict=True)])


def uniform_environment(colour: Tensor) -> Tensor:
    """Return `[batch, 9, 3]`: light of colours `[batch, 3]` that comes alike from all around."""
    return torch.nn.functional.pad((2 * torch.pi**0.5) * colour[:, None], (0, 0, 0, 8))


def _scene(meshes: Sequence[Mesh], classes: Sequence[int]) -> Scene:
    points = torch.cat([mesh.vertices for mesh in meshes])
    vertex_starts = [0, *accumulate(len(mesh.vertices) for mesh in meshes)]
    face_starts = [0, *accumulate(len(mesh.faces) for mesh in meshes)]
    count, device = len(meshes), points.device
    starts = list(zip(meshes, vertex_starts, face_starts, strict=False))
    owners = torch.arange(count, device=device)
    edges = [_edges(mesh.edges.to(device), vertex, face) for mesh, vertex, face in starts]
    texture, tiles, numbers = pack([mesh.pictures for mesh in meshes])
    tile = _in_one(
        [_renumbered(mesh.tile, new) for mesh, new in zip(meshes, numbers, strict=True)], meshes, -1
    )
    painted = _up_to_last(tile >= 0)
    group_starts = [0, *accumulate(_count(mesh.smoothing) for mesh in meshes)]
    groups = [
        _moved(mesh.smoothing, start) for mesh, start in zip(meshes, group_starts, strict=False)
    ]
    smoothing = _in_one(groups, meshes, -1)
    fields = {
        "points": points,
        "owners": owners.repeat_interleave(owners.new_tensor([len(m.vertices) for m in meshes])),
        "faces": torch.cat([mesh.faces + vertex for mesh, vertex, _ in starts]),
        "edges": torch.cat(edges),
        "smoothing": smoothing[: _up_to_last(smoothing >= 0)],
        "uv": _in_one([mesh.uv for mesh in meshes], meshes, 0)[:painted],
        "tile": tile[:painted],
        "tiles": tiles,
        "face_colours": torch.cat([mesh.colours for mesh in meshes]),
        "classes": owners.new_tensor(classes),
        "gloss": points.new_zeros(count),
        "pose": points.new_zeros(count, 3),
        "translation": points.new_zeros(count, 3),
        "scale": points.new_ones(count),
        "vertices": torch.zeros_like(points),
        "colour": points.new_ones(count, 3),
        "texture": texture.to(points),
        "light": points.new_tensor((0, 1, 0, 0, 0, 0)),
        "lamps": points.new_zeros(0, 6),
        "environment": uniform_environment(points.new_ones(1, 3))[0],
        "camera": points.new_tensor((3.5, 0.6, 0.35, 0.7, 0, 0, 0, 0)),
        "background": points.new_ones(3, 1, 1),
        "fog": points.new_zeros(4),
    }
    # A mesh without pictures, or smoothing, has these empty on the CPU, wherever its vertices are.
    return Scene(**{name: value[None].to(device) for name, value in fields.items()})


def _edges(edges: Tensor, vertex: int, face: int) -> Tensor:
    return _moved(edges, edges.new_tensor((vertex, vertex, face, face)))


def _moved(numbers: Tensor, start: Tensor | int) -> Tensor:
    return torch.where(numbers < 0, numbers, numbers + start)


def _renumbered(numbers: Tensor, new: Sequence[int]) -> Tensor:
    """Replace each number but -1 by a new one."""
    return numbers.new_tensor((*new, -1))[numbers]


def _count(numbers: Tensor) -> int:
    return int(numbers.max()) + 1 if numbers.numel() else 0


def _in_one(values: Sequence[Tensor], meshes: Sequence[Mesh], padding: Number) -> Tensor:
    """Join rows of the first faces of each mesh, with rows of `padding` for the faces beyond."""
    rows = []
    for value, mesh in zip(values, meshes, strict=True):
        empty = value.new_full((len(mesh.faces) - len(value), *value.shape[1:]), padding)
        rows += [value, empty]
    return torch.cat(rows)


def _up_to_last(wanted: Tensor) -> int:
    """Return how many rows there are up to the last in which something is wanted."""
    rows = wanted.flatten(1).any(dim=1) if wanted.ndim > 1 else wanted
    return _count(rows.nonzero())
