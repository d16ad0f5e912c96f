"""A batch of scenes: the objects of each, padded to the same size, and the scene parameters θ."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import pad

from guard.errors import BadInput, nearest

__all__ = ["PARAMETERS", "Scene", "concatenate"]

PARAMETERS = (
    "pose", "translation", "scale", "vertices", "colour", "texture", "light", "lamps",
    "environment", "camera", "background", "fog",
)  # fmt: skip
PADDED_BY_MINUS_ONE = ("faces", "edges", "smoothing", "tile", "tiles", "classes")
"""Numbers of things; all else is padded by zeros."""


@dataclass(frozen=True)
class Scene:
    """A batch of scenes and what a renderer needs to make images of them; `compose` builds one.

    World axes: x right, y up, z towards a camera at azimuth 0. A vertex of an object lies at
    `rotation(pose) · scale · (points + vertices) + translation`, where the rotation turns about x,
    then y, then z. The first object of a scene is its subject, whose class is the scene's label.

    Light is measured by what a white Lambertian surface reflects of it: 1 is a white pixel. A
    dimension of length 0 is a thing that no scene of the batch has.
    """

    points: Float[Tensor, "batch vertex 3"]
    """Vertices of all objects of a scene, as their meshes were made."""
    owners: Int64[Tensor, "batch vertex"]
    """The object that a vertex belongs to."""
    faces: Int64[Tensor, "batch face 3"]
    """Vertex numbers."""
    edges: Int64[Tensor, "batch edge 4"]
    """As `Mesh.edges`."""
    smoothing: Int64[Tensor, "batch smooth 3"]
    """Of the first faces: the group of each corner, in which the normals of faces are averaged; -1
    is a flat corner. Groups are numbered within a scene. Faces beyond the last are flat."""
    uv: Float[Tensor, "batch painted 3 2"]
    """Of the first faces: the place of each corner in its picture, (0, 0) the lower left."""
    tile: Int64[Tensor, "batch painted"]
    """Of the same faces: which of `tiles` is its picture; -1: none."""
    tiles: Int64[Tensor, "batch tile 4"]
    """Each picture's place in `texture`, which repeats beyond its borders: first row, first column,
    rows, columns."""
    face_colours: Float[Tensor, "batch face 3"]
    classes: Int64[Tensor, "batch object"]
    """The class of each object; -1 pads, or is scenery without a class."""
    gloss: Float[Tensor, "batch object"]
    """Strength of the Blinn-Phong highlight; 0 is a Lambertian surface."""

    pose: Float[Tensor, "batch object 3"]
    """Euler angles in radians."""
    translation: Float[Tensor, "batch object 3"]
    scale: Float[Tensor, "batch object"]
    vertices: Float[Tensor, "batch vertex 3"]
    """Offsets added to `points`."""
    colour: Float[Tensor, "batch object 3"]
    """Factor on the colour of every face."""
    texture: Float[Tensor, "batch 3 texel_row texel_column"]
    """All pictures of a scene in one; RGB factors on the colours of the faces they are put on."""
    light: Float[Tensor, "batch 6"]
    """Direction towards the light at infinity (x, y, z; of any length), and its RGB."""
    lamps: Float[Tensor, "batch lamp 6"]
    """Point lights: place (x, y, z), and RGB at distance 1, which falls with its square."""
    environment: Float[Tensor, "batch 9 3"]
    """Light from all around: RGB coefficients of radiance · π in the real spherical harmonics
    Y00, Y1-1, Y10, Y11, Y2-2, Y2-1, Y20, Y21, Y22 of the world's (x, y, z)."""
    camera: Float[Tensor, "batch 8"]
    """Distance from the place that it looks at, azimuth, elevation, vertical field of view, roll
    (radians), and that place (x, y, z)."""
    background: Float[Tensor, "batch 3 rows columns"]
    """RGB in [0, 1]: an image of the size that is rendered, or 1 × 1 for one colour."""
    fog: Float[Tensor, "batch 4"]
    """Density, by which a surface at distance d keeps exp(-density · d) of its colour, and the RGB
    that takes its place. The background is as far away as it looks: it has none."""

    def parameters(self) -> dict[str, Tensor]:
        """Return the scene parameters θ by name, in the order of `PARAMETERS`."""
        return {name: getattr(self, name) for name in PARAMETERS}

    def replace(self, **theta: Tensor) -> "Scene":
        """Return the same scenes with some scene parameters changed; gradients flow through.

        Raises:
            BadInput: a name is not a scene parameter, or the shape is not the one it had.
        """
        for name, value in theta.items():
            if name not in PARAMETERS:
                raise BadInput(f"{name!r} is no scene parameter{nearest(name, PARAMETERS)}")
            wanted = tuple(getattr(self, name).shape)
            if name == "background":  # its size may change
                wanted = (*wanted[:2], *value.shape[2:])
            if tuple(value.shape) != wanted:
                raise BadInput(f"scene parameter {name!r} has shape {wanted}, not {value.shape}")
        return dataclasses.replace(self, **theta)

    def with_gloss(self, gloss: Float[Tensor, "batch object"]) -> "Scene":
        """Return the same scenes with highlights of another strength."""
        return dataclasses.replace(self, gloss=gloss)

    def face_owners(self) -> Int64[Tensor, "batch face"]:
        """Return the object that each face belongs to; of padding, any."""
        return self.owners.gather(1, self.faces[..., 0].clamp_min(0))

    def to(self, target: torch.device | str) -> "Scene":
        """Copy every tensor to a device."""
        return Scene(**{name: value.to(target) for name, value in self.tensors().items()})

    def double(self) -> "Scene":
        """Return the scenes in float64, for checks of gradients."""
        tensors = self.tensors().items()
        return Scene(**{k: v.double() if v.is_floating_point() else v for k, v in tensors})

    def detach(self) -> "Scene":
        """Return the same scenes without a gradient history."""
        return Scene(**{name: value.detach() for name, value in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Return all that the scenes are, by name."""
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(
        self,
        indices: "int | slice | Sequence[int] | Int64[Tensor, ' chosen'] | Bool[Tensor, ' batch']",
    ) -> "Scene":
        if isinstance(indices, int):
            indices = [indices]
        return Scene(**{name: value[indices] for name, value in self.tensors().items()})


def concatenate(scenes: Sequence[Scene]) -> Scene:
    """Join batches of scenes into one, padded to the largest; gradients flow through.

    Raises:
        BadInput: there are none, or their backgrounds are of different sizes.
    """
    if not scenes:
        raise BadInput("no scenes to be joined: at least one batch is wanted")
    sizes = {tuple(scene.background.shape[2:]) for scene in scenes}
    if len(sizes) != 1:
        raise BadInput(f"scenes to be joined have backgrounds of different sizes: {sorted(sizes)}")
    joined = {
        each.name: _joined(
            [getattr(scene, each.name) for scene in scenes],
            -1 if each.name in PADDED_BY_MINUS_ONE else 0,
        )
        for each in dataclasses.fields(Scene)
    }
    return Scene(**joined)


def _joined(values: Sequence[Tensor], padding: int) -> Tensor:
    longest = [max(sizes) for sizes in zip(*(value.shape[1:] for value in values), strict=True)]
    rows = []
    for value in values:
        lacking = [most - size for most, size in zip(longest, value.shape[1:], strict=True)]
        ends = [end for count in reversed(lacking) for end in (0, count)]  # the last axis first
        rows.append(pad(value, ends, value=padding))
    return torch.cat(rows)
