"""Scenes in files: all that is needed to render them again bit for bit."""

from pathlib import Path
from typing import get_type_hints

from jaxtyping import jaxtyped
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from guard.errors import BadInput
from offline.rendering.scene import Scene

__all__ = ["load_scene", "save_scene", "scene_of"]


def save_scene(path: Path, scene: Scene) -> None:
    """Write a batch of scenes as safetensors."""
    tensors = scene.tensors().items()
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
    return scene_of(tensors, path)


def scene_of(tensors: dict[str, Tensor], path: Path | str) -> Scene:
    """Check what was read from a file, and return the scenes that it is.

    Raises:
        BadInput: it is something else than scenes; `path` names where it came from.
    """
    kinds = get_type_hints(Scene)
    if set(tensors) != set(kinds):
        names = ", ".join(sorted(set(kinds) ^ set(tensors)))
        raise BadInput(f"{path}: not a file of scenes: tensors missing or unknown: {names}")
    with jaxtyped("context"):  # binds the sizes, so that those of one name must be the same
        wrong = [k for k, kind in kinds.items() if not isinstance(tensors[k], kind)]
    if wrong:
        found = f"{tensors[wrong[0]].dtype} {tuple(tensors[wrong[0]].shape)}"
        raise BadInput(f"{path}: {wrong[0]} is of the wrong kind or size: {found}")
    scene = Scene(**tensors)
    rows, columns = scene.texture.shape[2:]
    named = {
        "faces": (scene.faces, scene.points.shape[1]),
        "edges": (scene.edges[..., :2], scene.points.shape[1]),
        "edges' faces": (scene.edges[..., 2:], scene.faces.shape[1]),
        "owners": (scene.owners, scene.pose.shape[1]),
        "smoothing": (scene.smoothing, 3 * scene.faces.shape[1]),
        "tile": (scene.tile, scene.tiles.shape[1]),
        "tiles": (scene.tiles[..., 0:3:2].sum(2).clamp_min(-1), rows + 1),
        "tiles' columns": (scene.tiles[..., 1:4:2].sum(2).clamp_min(-1), columns + 1),
    }
    for name, (numbers, most) in named.items():
        if numbers.numel() and not -1 <= int(numbers.min()) <= int(numbers.max()) < most:
            raise BadInput(f"{path}: {name} name what is not there")
    return scene
