"""Street images with the boxes of their cars and buses, whose scenes can be drawn again."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor

from guard.errors import BadInput, nearest
from guard.progress import track
from guard.settings import Settings
from offline.detection.detector import Truth, check_truths
from offline.rendering.ground_truth import annotate
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.scene import Scene, concatenate
from offline.rendering.streets import StreetSettings, sample_streets
from offline.rendering.streets.models import StreetModels

__all__ = ["DetectionImages", "StreetImages", "StreetSetSettings", "render_streets", "truths_of"]

CHUNK = 8  # scenes that are rendered at once


class StreetSetSettings(Settings):
    """Labelled street images: what they show, and which objects count.

    Attributes:
        size: height and width in pixels.
        samples: sub-pixels along each side of a pixel.
        classes: what is to be detected; everything else is background.
        least_visible: of the pixels that an object would cover alone, the share that must show it.
        least_pixels: how many pixels must show it.
        street: what streets are drawn from. The view is narrower than a street's usual one, so that
            vehicles further away are more than a few pixels wide.
    """

    size: tuple[int, int] = (128, 256)
    samples: int = Field(1, ge=1, le=4)
    classes: tuple[str, ...] = Field(("car", "bus"), min_length=1)
    least_visible: float = Field(0.4, ge=0, le=1)
    least_pixels: int = Field(48, ge=1)
    street: StreetSettings = StreetSettings(
        subjects=("car", "bus"), hour=(9, 15), field_of_view=(26, 32), vehicles=6, length=60
    )

    def renderer(self) -> Rasterizer:
        """Return the renderer of these images."""
        return Rasterizer(*self.size, self.samples)


class DetectionImages:
    """Images with the objects that they show.

    Attributes:
        pixels: uint8 [n, 3, height, width], in memory or memory-mapped.
        truths: the objects of each image.
        classes: the name of each class.

    Raises:
        BadInput: as `check_truths`.
    """

    def __init__(
        self,
        pixels: UInt8[Tensor, "n 3 height width"],
        truths: Sequence[Truth],
        classes: tuple[str, ...],
    ) -> None:
        check_truths(pixels, truths, classes)
        self.pixels, self.truths, self.classes = pixels, list(truths), classes

    def __len__(self) -> int:
        return len(self.truths)

    def fetch(self, indices: Int64[Tensor, " b"]) -> Float[Tensor, "b 3 height width"]:
        """Return the images at `indices`, float32 in [0, 1]."""
        return self.pixels[indices].float().div_(255)

    def fingerprint(self) -> str:
        """Return a SHA-256 over every image, box, label and class name, as hexadecimal."""
        objects = [(truth.boxes.tolist(), truth.labels.tolist()) for truth in self.truths]
        digest = hashlib.sha256(repr((self.classes, self.pixels.shape, objects)).encode())
        for piece in self.pixels.split(4096):
            digest.update(piece.contiguous().numpy())
        return digest.hexdigest()


class StreetImages(DetectionImages):
    """Images that `render_streets` wrote, memory-mapped, and the scenes that they show."""

    def __init__(self, folder: Path, settings: StreetSetSettings, seed: int) -> None:
        pixels = torch.from_numpy(np.load(folder / "images.npy", mmap_mode="c"))
        kept = load_file(folder / "objects.safetensors")
        counts = kept["counts"].tolist()
        pairs = zip(kept["boxes"].split(counts), kept["labels"].split(counts), strict=True)
        super().__init__(pixels, [Truth(*pair) for pair in pairs], settings.classes)
        self.settings, self.seed = settings, seed

    def scenes(self, indices: Int64[Tensor, " b"]) -> Scene:
        """Draw the scenes of some images again; they are the same to the bit."""
        return _scenes_of(indices.tolist(), self.settings, self.seed)


def render_streets(folder: Path, count: int, settings: StreetSetSettings, seed: int) -> None:
    """Render `count` streets into `folder`: `images.npy`, uint8 [n, 3, h, w], and their objects."""
    renderer = settings.renderer()
    shape = (count, 3, *settings.size)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape)
    truths: list[Truth] = []
    starts = range(0, count, CHUNK)
    for first in track(starts, f"Rendering {count} streets", len(starts)):
        scenes = _scenes_of(range(first, min(first + CHUNK, count)), settings, seed)
        rendered = renderer.render(scenes).mul_(255).round_()
        images[first : first + len(scenes)] = rendered.to(torch.uint8).numpy()
        truths += truths_of(scenes, settings)
    images.flush()
    objects = {
        "boxes": torch.cat([truth.boxes for truth in truths]),
        "labels": torch.cat([truth.labels for truth in truths]),
        "counts": torch.tensor([len(truth.labels) for truth in truths]),
    }
    save_file(objects, folder / "objects.safetensors")


@torch.no_grad()
def truths_of(scenes: Scene, settings: StreetSetSettings) -> list[Truth]:
    """Return the objects that count in the image of each street, with boxes of what is seen.

    Raises:
        BadInput: nothing in a street is of one of the classes.
    """
    names = StreetModels(settings.street.models).classes
    numbers = torch.full((len(names) + 1,), -1)  # the last is that of -1: scenery, padding
    for number, name in enumerate(settings.classes):
        if name not in names:
            raise BadInput(f"classes: no {name!r} in a street{nearest(name, names)}")
        numbers[names.index(name)] = number
    seen = annotate(scenes, *settings.size)
    labels = numbers.to(scenes.classes.device)[scenes.classes]
    truths = []
    for i in range(len(scenes)):
        shown = seen.instances[i].flatten()
        pixels = torch.bincount(shown[shown >= 0], minlength=labels.shape[1])
        counts = (labels[i] >= 0) & (pixels >= settings.least_pixels)
        counts &= seen.visible[i] >= settings.least_visible
        truths.append(Truth(seen.boxes[i, counts].float(), labels[i, counts]))
    return truths


def _scenes_of(numbers: Sequence[int], settings: StreetSetSettings, seed: int) -> Scene:
    models = StreetModels(settings.street.models)
    return concatenate([
        # A multiplier far above the number of images keeps the seeds of two sets apart.
        sample_streets(
            1,
            torch.Generator().manual_seed(seed * 1_000_003 + number),
            settings.size,
            settings.street,
            models,
        )
        for number in numbers
    ])  # fmt: skip
