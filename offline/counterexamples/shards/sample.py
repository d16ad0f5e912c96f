"""One attacked scene as a sample of a shard: the files that it is, and back."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from guard.errors import BadInput, one_line
from guard.settings import Settings
from offline.counterexamples.attack_settings import AttackSettings
from offline.rendering.alone import images_alone
from offline.rendering.engines import EngineSettings
from offline.rendering.scene import Scene
from offline.rendering.scene_files import scene_of

__all__ = ["PARTS", "Facts", "Origin", "Sample", "sample_of"]

MiB = 1 << 20
PARTS = {
    "before.png": 256 * MiB,
    "after.png": 256 * MiB,
    "json": MiB,
    "scene.safetensors": 1024 * MiB,
    "theta.safetensors": 1024 * MiB,
}
"""The files of a sample by what follows its key, in their order; the most bytes of each."""


class Origin(Settings):
    """What counterexamples were made from.

    Attributes:
        seed: of the data set that the scenes came from.
        attack: what moved them.
        renderer: what makes their images.
        model: SHA-256 of the weights of the model that was attacked.
    """

    seed: int
    attack: AttackSettings
    renderer: EngineSettings
    model: str = Field(pattern="^[0-9a-f]{64}$")


class Facts(Settings):
    """What `KEY.json` says.

    Attributes:
        schema_version: of the layout of shards.
        index: which scene of the search it is, counted over all shards.
        place: its number in the data set that it came from.
        label: the true class.
        predicted_before, predicted_after: the model's labels.
        confidence_before, confidence_after: the softmax value of these; null: it was no number.
        success, loss, renders: as in `Counterexamples`.
    """

    schema_version: Literal[1] = 1
    index: int = Field(ge=0)
    place: int = Field(ge=0)
    label: int = Field(ge=0)
    predicted_before: int = Field(ge=0)
    predicted_after: int = Field(ge=0)
    confidence_before: float | None
    confidence_after: float | None
    success: bool
    loss: tuple[float, ...] = Field(min_length=1)
    renders: int = Field(ge=1)
    origin: Origin


@dataclass(frozen=True, eq=False)
class Sample:
    """A scene before and after an attack (each a batch of one), its images, and the facts."""

    facts: Facts
    before: Scene
    after: Scene
    image_before: UInt8[Tensor, "3 height width"]
    image_after: UInt8[Tensor, "3 height width"]

    def rendered_again(self) -> UInt8[Tensor, "2 3 height width"]:
        """Render both scenes anew: the stored images, bit for bit, on a CPU of the same kind.

        Raises:
            CornerguardError: the renderer is not installed.
        """
        # The two may have backgrounds of different sizes, so they are no batch.
        renderer = self.facts.origin.renderer.renderer()
        return torch.cat([images_alone(renderer, scene) for scene in (self.before, self.after)])

    def parts(self) -> dict[str, bytes]:
        """Return the sample's files, in the order of `PARTS`; the same bytes whoever asks."""
        start = self.before.tensors()
        moved = {
            name: value
            for name, value in self.after.tensors().items()
            if not value.equal(start[name])
        }
        contents = (
            _png(self.image_before),
            _png(self.image_after),
            (self.facts.model_dump_json() + "\n").encode(),
            save({name: value.contiguous() for name, value in start.items()}),
            save({name: value.contiguous() for name, value in moved.items()}),
        )
        return dict(zip(PARTS, contents, strict=True))


def sample_of(parts: Mapping[str, bytes], source: str) -> Sample:
    """Read what `Sample.parts` made.

    Raises:
        BadInput: a part is damaged or does not fit the others; `source` names the sample.
    """
    try:
        facts = Facts.model_validate_json(parts["json"])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{source}.json: {where}: {first['msg']}") from None
    scene, theta = (
        _tensors(parts, name, source) for name in ("scene.safetensors", "theta.safetensors")
    )
    before = scene_of(scene, f"{source}.scene.safetensors")
    after = scene_of(scene | theta, f"{source}.theta.safetensors")
    if len(before) != 1:
        raise BadInput(f"{source}.scene.safetensors: holds {len(before)} scenes; one is wanted")
    images = [
        _image(parts[name], facts, f"{source}.{name}") for name in ("before.png", "after.png")
    ]
    return Sample(facts, before, after, *images)


def _tensors(parts: Mapping[str, bytes], name: str, source: str) -> dict[str, Tensor]:
    try:
        return load(parts[name])
    except (SafetensorError, ValueError) as error:
        raise BadInput(f"{source}.{name}: is damaged: {one_line(error)}") from None


def _png(image: UInt8[Tensor, "3 height width"]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "PNG")
    return file.getvalue()


def _image(content: bytes, facts: Facts, source: str) -> UInt8[Tensor, "3 height width"]:
    size = (facts.origin.renderer.width, facts.origin.renderer.height)
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if (image.size, image.mode) != (size, "RGB"):  # told before any pixel is decoded
                found = f"{image.size[0]} x {image.size[1]} {image.mode}"
                raise BadInput(f"{source}: is {found}; {size[0]} x {size[1]} RGB is wanted")
            pixels = np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(f"{source}: is no PNG image: {one_line(error)}") from None
    return torch.from_numpy(pixels).permute(2, 0, 1)
