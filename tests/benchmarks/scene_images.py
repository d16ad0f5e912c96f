"""Rendered images with the scenes that they show: procedural objects, or meshes from a folder."""

import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from guard.errors import CornerguardError
from guard.progress import track
from guard.storage import replace_directory, write_json
from offline.datasets import ArrayImages
from offline.rendering import MeshSettings, MeshWarning, Rasterizer, Scene, load_mesh
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.meshes.shapenet import class_folder
from offline.rendering.procedural import CLASSES
from offline.rendering.sampling import SceneRanges, place_meshes, sample_scenes
from offline.rendering.scene import concatenate

__all__ = ["SceneImages", "Source", "mesh_source", "procedural_source", "render_images"]

CHUNK = 60
RANGES = SceneRanges(azimuth=(-180.0, 180.0), elevation=(-20.0, 70.0))
"""Seen from all around, not from three-quarters alone: what an attack turns is not news to it."""
CACHE = Path("runs/benchmarks/counterexamples")


class Source(NamedTuple):
    """What scenes are drawn from.

    Attributes:
        name: in words, part of the key of what is cached.
        classes: the names of the classes.
        draw: (labels, generator, size of the image) to new scenes.
    """

    name: str
    classes: tuple[str, ...]
    draw: Callable[[Tensor, torch.Generator, int], Scene]


def procedural_source() -> Source:
    """Return the twelve classes of new objects."""

    def draw(labels: Tensor, generator: torch.Generator, size: int) -> Scene:
        return sample_scenes(labels, generator, size, RANGES)

    return Source(f"procedural {RANGES.model_dump_json()}", CLASSES, draw)


def mesh_source(folder: Path, z_up: tuple[str, ...] = ()) -> Source:
    """Return the classes of FOLDER/CLASS/MESH; a scene shows one of its class's meshes at random.

    Train and test scenes show the same few meshes, each time from elsewhere in other light.
    """
    files = class_folder(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MeshWarning)
        meshes: list[list[Mesh]] = [
            [load_mesh(p, MeshSettings(up="z" if p.stem in z_up else "y")) for p in paths]
            for paths in files.values()
        ]

    def draw(labels: Tensor, generator: torch.Generator, size: int) -> Scene:
        chosen = []
        for label in labels.tolist():
            among = meshes[label]
            number = int(torch.randint(len(among), (1,), generator=generator))
            chosen.append(among[number])
        return place_meshes(chosen, generator, size, RANGES)

    sums = [hashlib.sha256(p.read_bytes()).hexdigest() for ps in files.values() for p in ps]
    digest = hashlib.sha256(" ".join((*sums, *z_up)).encode()).hexdigest()
    return Source(f"meshes-{digest[:12]} {RANGES.model_dump_json()}", tuple(files), draw)


class SceneImages(ArrayImages):
    """Images in memory, and the scenes that they show, drawn again when they are asked for."""

    def __init__(
        self, pixels: Tensor, labels: Tensor, source: Source, made_from: dict[str, Any]
    ) -> None:
        super().__init__(pixels, labels, source.classes)
        self.source, self.made_from, self.seed = source, made_from, int(made_from["seed"])

    def scenes(self, indices: Int64[Tensor, " b"]) -> Scene:
        """Draw the scenes of some images again; they are the same to the bit."""
        parts, places = [], []
        for chunk in (indices // CHUNK).unique().tolist():
            rows = (indices // CHUNK == chunk).nonzero()[:, 0]
            whole = _scenes_of(self.labels, chunk, self.source, self.shape[1], self.seed)
            parts.append(whole[indices[rows] % CHUNK])
            places.append(rows)
        return concatenate(parts)[torch.cat(places).argsort()]


def render_images(source: Source, count: int, size: int, seed: int) -> SceneImages:
    """Render `count` images, the classes in equal parts, or take them from the cache.

    Raises:
        CornerguardError: an object lies outside its image.
    """
    key = {"source": source.name, "count": count, "size": size, "seed": seed, "version": 1}
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]
    folder = CACHE / f"images-{digest}"
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    labels = order % len(source.classes)
    if not folder.is_dir():
        renderer, pixels = Rasterizer(size, size, 1), []
        chunks = -(-count // CHUNK)
        for chunk in track(range(chunks), f"Rendering {count} images", chunks):
            scenes = _scenes_of(labels, chunk, source, size, seed)
            if not bool((renderer.coverage(scenes) > 0).all()):
                raise CornerguardError("an object lies outside its image")
            rendered = renderer.render(scenes).clamp_(0, 1).mul_(255).round_()
            pixels.append(rendered.to(torch.uint8).numpy())
        CACHE.mkdir(parents=True, exist_ok=True)
        with replace_directory(folder) as aside:
            np.save(aside / "images.npy", np.concatenate(pixels))
            write_json(aside / "made_from.json", key)
    return SceneImages(torch.from_numpy(np.load(folder / "images.npy")), labels, source, key)


def _scenes_of(labels: Tensor, chunk: int, source: Source, size: int, seed: int) -> Scene:
    # A multiplier far above the number of chunks keeps the seeds of two sets apart.
    generator = torch.Generator().manual_seed(seed * 1_000_003 + chunk)
    return source.draw(labels[chunk * CHUNK : (chunk + 1) * CHUNK], generator, size)
