"""A batch of scenes: meshes, padded to the same size, and the scene parameters θ."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int64
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from guard.errors import BadInput, nearest
from offline.rendering.meshes import Mesh

__all__ = ["PARAMETERS", "Scene", "concatenate", "load_scene", "save_scene"]

PARAMETERS = (
    "pose", "translation", "scale", "vertices", "colour", "light", "camera", "background",
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """A batch of scenes, one object each, and what a renderer needs to make images of them.

    World axes: x right, y up, z towards a camera at azimuth 0; the mesh fits in the unit sphere.
    A vertex lies at `rotation(pose) · scale · (points + vertices) + translation`, where the
    rotation turns about x, then y, then z.
    """

    points: Float[Tensor, "batch vertex 3"]
    """Vertices of the meshes as they were made."""
    faces: Int64[Tensor, "batch face 3"]
    """Vertex numbers; rows of -1 pad."""
    edges: Int64[Tensor, "batch edge 4"]
    """As `Mesh.edges`; rows of -1 pad."""
    face_colours: Float[Tensor, "batch face 3"]
    gloss: Float[Tensor, " batch"]
    """Strength of the Blinn-Phong highlight; 0 is a Lambertian surface."""

    pose: Float[Tensor, "batch 3"]
    """Euler angles in radians."""
    translation: Float[Tensor, "batch 3"]
    scale: Float[Tensor, " batch"]
    vertices: Float[Tensor, "batch vertex 3"]
    """Offsets added to `points`."""
    colour: Float[Tensor, "batch 3"]
    """Factor on the colour of every face."""
    light: Float[Tensor, "batch 5"]
    """Direction towards the light (world x, y, z; of any length), its intensity, the ambient."""
    camera: Float[Tensor, "batch 4"]
    """Distance from the origin, which it looks at; azimuth, elevation, vertical field of view."""
    background: Float[Tensor, "batch 3 rows columns"]
    """RGB in [0, 1]: an image of the size that is rendered, or 1 × 1 for one colour."""

    @classmethod
    def of(
        cls,
        meshes: Sequence[Mesh],
        *,
        camera: Sequence[float | int] = (3.5, 0.6, 0.35, 0.7),
        light: Sequence[float | int] = (0.4, 1.0, 0.6, 0.7, 0.4),
        gloss: float | int = 0.0,
        background: Sequence[float | int] = (1.0, 1.0, 1.0),
    ) -> "Scene":
        """Put each mesh into a scene of its own, all under the same camera and light."""
        if not meshes:
            raise BadInput("a scene wants at least one mesh, there is none")
        batch = len(meshes)
        points = _stack([mesh.vertices for mesh in meshes], 0)

        def repeated(*values: float | int) -> Tensor:
            return points.new_tensor(values).repeat(batch, 1)

        return cls(
            points=points,
            faces=_stack([mesh.faces for mesh in meshes], -1),
            edges=_stack([mesh.edges.to(mesh.faces.device) for mesh in meshes], -1),
            face_colours=_stack([mesh.colours for mesh in meshes], 0),
            gloss=repeated(gloss)[:, 0],
            pose=repeated(0, 0, 0),
            translation=repeated(0, 0, 0),
            scale=repeated(1)[:, 0],
            vertices=torch.zeros_like(points),
            colour=repeated(1, 1, 1),
            light=repeated(*light),
            camera=repeated(*camera),
            background=repeated(*background)[:, :, None, None],
        )

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
            if name != "background" and tuple(value.shape) != wanted:
                raise BadInput(f"scene parameter {name!r} has shape {wanted}, not {value.shape}")
        return dataclasses.replace(self, **theta)

    def with_gloss(self, gloss: Float[Tensor, " batch"]) -> "Scene":
        """Return the same scenes with highlights of another strength."""
        return dataclasses.replace(self, gloss=gloss)

    def to(self, target: torch.device | str) -> "Scene":
        """Copy every tensor to a device."""
        return Scene(**{name: value.to(target) for name, value in self._tensors().items()})

    def double(self) -> "Scene":
        """Return the scenes in float64, for checks of gradients."""
        tensors = self._tensors().items()
        return Scene(**{k: v.double() if v.is_floating_point() else v for k, v in tensors})

    def detach(self) -> "Scene":
        """Return the same scenes without a gradient history."""
        return Scene(**{name: value.detach() for name, value in self._tensors().items()})

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(
        self,
        indices: "int | slice | Sequence[int] | Int64[Tensor, ' chosen'] | Bool[Tensor, ' batch']",
    ) -> "Scene":
        if isinstance(indices, int):
            indices = [indices]
        return Scene(**{name: value[indices] for name, value in self._tensors().items()})

    def _tensors(self) -> dict[str, Tensor]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def concatenate(scenes: Sequence[Scene]) -> Scene:
    """Join batches of scenes into one; their backgrounds must be of the same size."""
    sizes = {tuple(scene.background.shape[2:]) for scene in scenes}
    if len(sizes) != 1:
        raise BadInput(f"scenes to be joined have backgrounds of different sizes: {sorted(sizes)}")
    joined = {}
    for name in (field.name for field in dataclasses.fields(Scene)):
        values = [row for scene in scenes for row in getattr(scene, name)]
        padding = -1 if name in ("faces", "edges") else 0
        padded = name in ("faces", "edges", "points", "vertices", "face_colours")
        joined[name] = _stack(values, padding) if padded else torch.stack(values)
    return Scene(**joined)


def save_scene(path: Path, scene: Scene) -> None:
    """Write a batch of scenes as safetensors: all that is needed to render it again bit for bit."""
    tensors = scene._tensors().items()
    aside = path.with_name(f".{path.name}.partial")
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors}, aside)
    aside.replace(path)


def load_scene(path: Path) -> Scene:
    """Read what `save_scene` wrote.

    Raises:
        BadInput: the file is missing, damaged, or holds something else than scenes.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path}: cannot be read as scenes: {error}") from None
    wanted = {field.name for field in dataclasses.fields(Scene)}
    if set(tensors) != wanted:
        wrong = ", ".join(sorted(wanted ^ set(tensors)))
        raise BadInput(f"{path}: not a file of scenes: tensors missing or unknown: {wrong}")
    scene = Scene(**tensors)
    for name, most in (("faces", scene.points.shape[1]), ("edges", scene.faces.shape[1])):
        values = tensors[name][..., -1 if name == "edges" else 0 :]
        if int(values.max()) >= most or int(values.min()) < -1:
            raise BadInput(f"{path}: {name} name a vertex or face that is not there")
    return scene


def _stack(rows: Sequence[Tensor], padding: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=padding)
