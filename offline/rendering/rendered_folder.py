"""A folder of rendered images with their ground truth, written a few images at a time."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from PIL import Image
from rich.markup import escape

from guard.errors import BadInput, nearest
from guard.progress import CONSOLE, track
from guard.settings import where
from guard.storage import replace_directory
from offline.rendering.coco import coco_file
from offline.rendering.engines import RENDERERS, make_renderer
from offline.rendering.ground_truth import Annotations, annotate
from offline.rendering.image_formation import Photographed
from offline.rendering.renderer import Renderer
from offline.rendering.scene_settings import SceneSettings
from offline.rendering.scene_yaml import SceneFile, load_scene_file

__all__ = ["palette", "render_file"]

SAMPLES_AT_ONCE = 1 << 20  # of a batch of images, which bounds the memory
FOLDERS = ("images", "masks", "instances", "depth")


def render_file(path: Path, folder: Path, count: int | None = None) -> None:
    """Render a scene file into a new folder, which is there whole or not at all.

    Images are images/N.png; annotations.json is in COCO's format, boxes and masks of visible
    pixels, with the share of each object that is visible; masks/N.png has class numbers + 1 as a
    palette's, 0 the background; instances/N.png (16 bits) object numbers + 1; depth/N.npy the
    distance along the view, infinite where there is no object. An object that is out of view is
    warned of; with `street`, the subject alone.

    Args:
        path: the scene file.
        folder: new, or empty.
        count: how many images, instead of what the file says.

    Raises:
        BadInput: a mistake in the file, the folder is not empty, or more images than differ.
    """
    with _warned():
        file = load_scene_file(path)
    count = file.settings.count if count is None else count
    if count > 1 and not file.varies:
        raise BadInput(f"{path}: nothing in it is random: its {count} images would be the same")
    if len(file.classes) > 255:
        raise BadInput(f"{path}: {len(file.classes)} classes; a mask has room for 255")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder}: is not an empty folder; name a new one")
    renderer = _renderer(path, file.settings)
    height, width = file.settings.size
    at_once = max(1, SAMPLES_AT_ONCE // (height * width * file.settings.samples**2))
    digits = max(4, len(str(count - 1)))
    starts = range(0, count, at_once)
    with _warned(), _written(folder) as partial:
        for name in FOLDERS:
            (partial / name).mkdir()
        with coco_file(partial / "annotations.json", file.classes) as coco:
            for first in track(starts, f"Rendering {count} images", len(starts)):
                scenes = file.scenes(first, min(at_once, count - first))
                images = _photograph(renderer, file.settings, first, scenes)
                truth = annotate(scenes, height, width)
                _warn(truth, first, file)
                for i, image in enumerate(images):
                    name = f"{first + i:0{digits}d}"
                    _write(partial, name, image, truth, i, len(file.classes))
                    coco.add(first + i, f"images/{name}.png", truth, i)


def palette(classes: int) -> list[int]:
    """Return RGB, flat, of the background and the classes: the colours of PASCAL VOC's masks."""
    colours = []
    for number in range(classes + 1):
        rgb = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                rgb[channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
        colours += rgb
    return colours


@contextmanager
def _written(folder: Path) -> Iterator[Path]:
    """Yield a folder that becomes `folder`; a disk that is full or closed is one line."""
    try:
        with replace_directory(folder) as partial:
            yield partial
    except OSError as error:
        raise BadInput(f"{folder}: cannot be written: {error.strerror or error}") from None


@contextmanager
def _warned() -> Iterator[None]:
    """Show warnings, such as of meshes, as one line each, without the code that gave them."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: _say(str(message))
        yield


def _say(warning: str) -> None:
    text = escape(" ".join(warning.split()))
    CONSOLE.print(f"[yellow]warning:[/yellow] {text}", highlight=False, soft_wrap=True)


def _renderer(path: Path, settings: SceneSettings) -> Renderer:
    if settings.renderer not in RENDERERS:
        line = where(path, "renderer")
        raise BadInput(f"{line}: {settings.renderer!r}{nearest(settings.renderer, RENDERERS)}")
    return make_renderer(settings.renderer, settings.size, settings.samples, settings.shadows)


@torch.no_grad()
def _photograph(renderer: Renderer, settings: SceneSettings, first: int, scenes: Any) -> ndarray:
    """Return uint8 [image, height, width, 3]; each image's noise follows from its own number."""
    if settings.image_formation is not None:
        seed = settings.seed * 1_000_000_007 + first
        renderer = Photographed(renderer, settings.image_formation, seed)
    pixels = renderer.render(scenes).mul(255).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()


def _warn(truth: Annotations, first: int, file: SceneFile) -> None:
    """Name the objects that no pixel shows."""
    objects = len(file.settings.objects) or 1
    for i, j in (truth.boxes[:, :objects, 0].isnan()).nonzero().tolist():
        what = "its subject" if j == 0 else f"object {j}"
        _say(f"image {first + i}: {what} is out of view")


def _write(
    folder: Path, name: str, image: ndarray, truth: Annotations, i: int, classes: int
) -> None:
    Image.fromarray(image).save(folder / "images" / f"{name}.png")
    mask = Image.fromarray((truth.segmentation[i] + 1).to(torch.uint8).cpu().numpy())
    mask.putpalette(palette(classes))
    mask.save(folder / "masks" / f"{name}.png")
    instances = (truth.instances[i] + 1).cpu().numpy().astype(np.uint16)
    Image.fromarray(instances).save(folder / "instances" / f"{name}.png")
    np.save(folder / "depth" / f"{name}.npy", truth.depth[i].float().cpu().numpy())
