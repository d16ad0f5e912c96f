"""From meshes to scenes: the objects of a scene share its arrays, and its pictures one atlas."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from guard.errors import BadInput
from offline.rendering.meshes import Mesh
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
    fields = {
        "points": points,
        "owners": owners.repeat_interleave(torch.tensor([len(m.vertices) for m in meshes])),
        "faces": torch.cat([mesh.faces + vertex for mesh, vertex, _ in starts]),
        "edges": torch.cat(edges),
        "smoothing": owners.new_zeros(0, 3),
        "uv": points.new_zeros(0, 3, 2),
        "tile": owners.new_zeros(0),
        "tiles": owners.new_zeros(0, 4),
        "face_colours": torch.cat([mesh.colours for mesh in meshes]),
        "classes": owners.new_tensor(classes),
        "gloss": points.new_zeros(count),
        "pose": points.new_zeros(count, 3),
        "translation": points.new_zeros(count, 3),
        "scale": points.new_ones(count),
        "vertices": torch.zeros_like(points),
        "colour": points.new_ones(count, 3),
        "texture": points.new_zeros(3, 0, 0),
        "light": points.new_tensor((0, 1, 0, 0, 0, 0)),
        "lamps": points.new_zeros(0, 6),
        "environment": uniform_environment(points.new_ones(1, 3))[0],
        "camera": points.new_tensor((3.5, 0.6, 0.35, 0.7, 0, 0, 0, 0)),
        "background": points.new_ones(3, 1, 1),
        "fog": points.new_zeros(4),
    }
    return Scene(**{name: value[None] for name, value in fields.items()})


def _edges(edges: Tensor, vertex: int, face: int) -> Tensor:
    moved = edges + edges.new_tensor((vertex, vertex, face, face))
    return torch.where(edges < 0, edges, moved)
