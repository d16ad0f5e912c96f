"""A labelled data set that is rendered, and whose scenes can be drawn again from its seed."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor

from guard.errors import CornerguardError
from guard.progress import track
from guard.settings import Settings
from offline.datasets import ArrayImages
from offline.rendering.engines import EngineSettings
from offline.rendering.procedural import CLASSES
from offline.rendering.renderer import Renderer
from offline.rendering.sampling import SceneRanges, sample_scenes
from offline.rendering.scene import Scene, concatenate

__all__ = ["RenderSettings", "RenderedImages", "render_set"]

CHUNK = 60


class RenderSettings(Settings):
    """A data set rendered from procedural meshes, the twelve classes in equal parts.

    Attributes:
        size: height and width in pixels.
        train, test: how many images.
        samples: sub-pixels along each side of a pixel; 2 is smoother, and four times the work.
        ranges: of everything that is drawn at random.
    """

    size: int = Field(64, ge=16, le=1024)
    train: int = Field(3000, ge=len(CLASSES))
    test: int = Field(720, ge=len(CLASSES))
    samples: int = Field(1, ge=1, le=4)
    ranges: SceneRanges = SceneRanges()

    def engine(self) -> EngineSettings:
        """Return what renders these images."""
        return EngineSettings(height=self.size, width=self.size, samples=self.samples)

    def renderer(self) -> Renderer:
        """Return the renderer of these images."""
        return self.engine().renderer()


class RenderedImages(ArrayImages):
    """Images that `render_set` wrote, memory-mapped, and the scenes that they show."""

    def __init__(self, folder: Path, settings: RenderSettings, seed: int) -> None:
        pixels = torch.from_numpy(np.load(folder / "images.npy", mmap_mode="c"))
        super().__init__(pixels, load_file(folder / "labels.safetensors")["labels"], CLASSES)
        self.settings, self.seed = settings, seed

    def scenes(self, indices: Int64[Tensor, " b"]) -> Scene:
        """Draw the scenes of some images again; they are the same to the bit."""
        parts, places = [], []
        for chunk in (indices // CHUNK).unique().tolist():
            rows = (indices // CHUNK == chunk).nonzero()[:, 0]
            whole = _scenes_of(self.labels, chunk, self.settings, self.seed)
            parts.append(whole[indices[rows] % CHUNK])
            places.append(rows)
        return concatenate(parts)[torch.cat(places).argsort()]


def render_set(folder: Path, count: int, settings: RenderSettings, seed: int) -> None:
    """Render `count` images into `folder`: `images.npy`, uint8 [n, 3, h, w], and their labels."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    labels = order % len(CLASSES)
    renderer = settings.renderer()
    shape = (count, 3, settings.size, settings.size)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape)
    chunks = -(-count // CHUNK)
    for chunk in track(range(chunks), f"Rendering {count} images", chunks):
        scenes = _scenes_of(labels, chunk, settings, seed)
        if not bool((renderer.coverage(scenes) > 0).all()):
            raise CornerguardError("an object lies outside its image; draw from smaller `ranges`")
        rendered = renderer.render(scenes).clamp_(0, 1).mul_(255).round_()
        images[chunk * CHUNK : chunk * CHUNK + len(scenes)] = rendered.to(torch.uint8).numpy()
    images.flush()
    save_file({"labels": labels}, folder / "labels.safetensors")


def _scenes_of(labels: Tensor, chunk: int, settings: RenderSettings, seed: int) -> Scene:
    # A multiplier far above the number of chunks keeps the seeds of two sets apart.
    generator = torch.Generator().manual_seed(seed * 1_000_003 + chunk)
    chosen = labels[chunk * CHUNK : (chunk + 1) * CHUNK]
    return sample_scenes(chosen, generator, settings.size, settings.ranges)
