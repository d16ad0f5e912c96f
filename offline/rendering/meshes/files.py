"""Meshes from files: OBJ with MTL and pictures, GLB and glTF, PLY, OFF, STL."""

import dataclasses
import warnings
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from PIL import Image, UnidentifiedImageError
from pydantic import Field

from guard.errors import BadInput, one_line
from guard.settings import Settings
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.meshes.pictures import Pictures, paint
from offline.rendering.meshes.repair import Surface, simplified, sound_faces
from offline.rendering.meshes.smoothing import groups_by_crease, groups_by_normals, wound_against

__all__ = ["FORMATS", "MeshSettings", "MeshWarning", "load_mesh"]

FORMATS = (".obj", ".glb", ".gltf", ".ply", ".off", ".stl")
Z_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
PICTURES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tga", ".tif", ".tiff", ".webp"}


class MeshWarning(UserWarning):
    """A mesh is rendered, but not all as its file says; `load_mesh` lists when."""


class MeshSettings(Settings):
    """What a file does not say of its mesh, and how much of it is kept.

    Attributes:
        up: the file's axis that points up. It is y in glTF and ShapeNet; other files do not say.
        faces: above this a mesh is simplified.
        texels: along the longer side of a picture; above it the picture is reduced.
        crease: degrees; where a file has no normals, surfaces that bend by less look smooth.
    """

    up: Literal["y", "z"] = "y"
    faces: int = Field(200_000, ge=100)
    texels: int = Field(1024, ge=16, le=8192)
    crease: float = Field(30.0, ge=0, le=180)


def load_mesh(path: Path, settings: MeshSettings | None = None) -> Mesh:
    """Read a file of any of `FORMATS` as one mesh, centred and scaled into the unit sphere.

    The parts of a file become one mesh, whose vertices at the same place are one. Base colour: the
    material's, times the picture's (its values as stored, no gamma; repeating beyond its borders),
    times the vertices'; all surfaces are opaque. Corners at one place with the same normal in the
    file are shaded smoothly; without normals glTF is flat, as its specification wants, and other
    files are smooth up to `settings.crease`. Materials and pictures are read from the file's folder
    and the folders beside it, nowhere else.

    Warns:
        MeshWarning: at most once for a mesh, one line that says which of these are true. Faces
            without area, or duplicates of others, were left out (how many); edges belong to more
            than two faces (how many; they are drawn as borders); the mesh was simplified; a file of
            materials or a picture is missing or does not decode, so that grey, or the material's
            colour, takes its place; a picture was reduced.

    Raises:
        BadInput: the file is missing, of another format, damaged, has no face with an area, or
            vertices that are NaN or infinite.
    """
    settings = settings or MeshSettings()
    name, suffix = str(path), path.suffix.lower()
    if suffix not in FORMATS:
        raise BadInput(f"{path}: not a mesh file; allowed are {', '.join(FORMATS)}")
    if not path.is_file():
        raise BadInput(f"{path}: cannot be read: there is no such file")
    pictures = Pictures(settings.texels)
    beside = _Beside(name)
    surface = _surface(name, _scene(path, beside), pictures)
    surface = surface.turned(Z_UP) if settings.up == "z" else surface
    notes = [f"cannot read {missing!r}, which it names" for missing in beside.missing]
    notes += pictures.notes
    if len(surface.faces) > settings.faces:
        before = len(surface.faces)
        surface = simplified(surface, pictures.arrays, settings.faces)
        notes.append(f"simplified from {before} to {len(surface.faces)} faces, painted by face")
    solid, first = sound_faces(surface)
    for what, chosen in (("faces without area", ~solid), ("duplicate faces", solid & ~first)):
        if chosen.any():
            notes.append(f"{what} left out: {chosen.sum()}")
    if not solid.any():
        raise BadInput(f"mesh {name!r} has no faces that have an area; at least one is wanted")
    mesh = _mesh(name, surface.of(solid & first).merged(), pictures, suffix, settings.crease)
    shared = mesh.edges[mesh.edges[:, 3] < 0, :2].unique(dim=0, return_counts=True)[1]
    if (shared > 1).any():
        notes.append(f"edges of more than two faces: {int((shared > 1).sum())}")
    if notes:
        warnings.warn(f"mesh {name!r}: {'; '.join(notes)}", MeshWarning, stacklevel=2)
    return mesh.normalised()


class _Beside(trimesh.resolvers.FilePathResolver):
    """Gives a parser the files that a mesh names, and keeps the names of those it could not."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.missing: list[str] = []

    def get(self, name: str) -> bytes:
        wanted = name.strip().replace("\\", "/")
        folder, inside = Path(self.parent), wanted.removeprefix("../")
        root = folder if inside == wanted else folder.parent
        try:
            data: bytes = trimesh.resolvers.FilePathResolver(str(root / "_")).get(inside)
            if Path(wanted).suffix.lower() in PICTURES:
                Image.open(BytesIO(data)).close()
        except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError):
            self.missing.append(name)
            raise
        return data


def _scene(path: Path, beside: _Beside) -> trimesh.Scene:
    with warnings.catch_warnings():
        # Of pictures above 89 million texels, which are reduced.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            # `process` would drop vertices that are NaN without a word.
            return trimesh.load_scene(path, resolver=beside, process=False)
        except OSError as error:
            raise BadInput(f"{path}: cannot be read: {error.strerror or error}") from None
        except Exception as error:  # trimesh raises whatever its parsers raise
            raise BadInput(
                f"{path}: not a mesh: {type(error).__name__}: {one_line(error)}"
            ) from None


def _surface(name: str, scene: trimesh.Scene, pictures: Pictures) -> Surface:
    """Put the parts of a file where they belong, and into one."""
    parts: list[Surface] = []
    start = 0
    for node in scene.graph.nodes_geometry:
        matrix, key = scene.graph[node]
        part = scene.geometry[key]
        if not isinstance(part, trimesh.Trimesh) or not len(part.faces):
            continue
        faces = np.asarray(part.faces, dtype=np.int64)
        wrong = faces[(faces < 0) | (faces >= len(part.vertices))]
        if len(wrong):
            most = len(part.vertices) - 1
            raise BadInput(
                f"mesh {name!r}: a face names vertex {wrong[0]}, allowed are 0 to {most}"
            )
        with np.errstate(invalid="ignore"):  # what is not finite is told below
            vertices = np.asarray(part.vertices) @ matrix[:3, :3].T + matrix[:3, 3]
        colours = paint(part, pictures)
        parts.append(Surface(vertices, faces + start, *colours, _normals(part, matrix[:3, :3])))
        start += len(vertices)
    if not parts:
        raise BadInput(f"mesh {name!r} has no faces; at least one is wanted")
    whole = Surface(*(np.concatenate(each) for each in zip(*parts, strict=True)))
    bad = ~np.isfinite(whole.vertices[np.unique(whole.faces)]).all(axis=1)
    if bad.any():
        raise BadInput(f"mesh {name!r}: {bad.sum()} vertices are NaN or infinite")
    return whole.merged()


def _normals(part: trimesh.Trimesh, turn: np.ndarray) -> Float[np.ndarray, "face 3 3"]:
    # Asked for normals, trimesh makes them up; in its cache are those that the file has.
    if "vertex_normals" not in part._cache:
        return np.full((len(part.faces), 3, 3), np.nan)
    cofactors = np.cross(turn[[1, 2, 0]], turn[[2, 0, 1]]) * np.sign(np.linalg.det(turn))
    normals = np.asarray(part.vertex_normals)[part.faces] @ cofactors.T
    lengths = np.linalg.norm(normals, axis=2, keepdims=True)
    unit: np.ndarray = np.full_like(normals, np.nan)
    np.divide(normals, lengths, where=lengths > 0, out=unit)
    return unit


def _mesh(name: str, surface: Surface, pictures: Pictures, suffix: str, crease: float) -> Mesh:
    vertices, faces, colours, uv, tile, normals = surface
    known = np.isfinite(normals).all(axis=(1, 2))
    turned = wound_against(vertices, faces, normals)
    order = np.where(turned[:, None], (0, 2, 1), (0, 1, 2))
    faces, uv = np.take_along_axis(faces, order, 1), np.take_along_axis(uv, order[..., None], 1)
    normals = np.take_along_axis(normals, order[..., None], 1)
    painted = len(tile) if (tile >= 0).any() else 0
    mesh = Mesh(
        name,
        # Far from the origin, as on a map, float32 has no digits left for what is small.
        torch.from_numpy(vertices - vertices.mean(axis=0)).float(),
        torch.from_numpy(faces),
        torch.from_numpy(colours).float(),
        torch.from_numpy(uv[:painted]).float(),
        torch.from_numpy(tile[:painted]),
        tuple(torch.from_numpy(array) for array in pictures.arrays) if painted else (),
    )
    groups = np.full_like(faces, -1)
    if known.any():
        groups[known] = groups_by_normals(mesh, np.nan_to_num(normals))[known]
    if not known.all() and suffix not in (".glb", ".gltf"):
        creased = groups_by_crease(mesh, crease)[~known]
        groups[~known] = np.where(creased < 0, -1, creased + groups.max() + 1)
    return dataclasses.replace(mesh, smoothing=torch.from_numpy(groups))
