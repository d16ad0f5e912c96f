"""What an attack on a detector found, and its folder on disk."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from guard.errors import BadInput
from guard.storage import replace_directory, write_json
from offline.detection import DetectionImages, Found, Truth
from offline.rendering.scene import Scene, concatenate
from offline.rendering.scene_files import load_scene, save_scene

__all__ = [
    "DetectionCounterexamples",
    "load_detection_counterexamples",
    "save_detection_counterexamples",
]


@dataclass(frozen=True)
class DetectionCounterexamples:
    """Every street that was attacked, in its order, with what came of it; tensors on the CPU.

    Attributes:
        before, after: the scenes as they were and as the attack left them.
        images_before, images_after: their images.
        truths_before, truths_after: the objects that count in them; boxes follow the objects.
        found_before, found_after: what the detector finds in the 8-bit images, at low scores too.
        missed_before, missed_after: how many of the objects it misses.
        success: it finds some object before, and misses more after: a semantic counterexample.
        loss: the detector's doubt, at the start and after each step.
        renders: how many images were rendered of each scene.
    """

    before: Scene
    after: Scene
    images_before: UInt8[Tensor, "scene 3 height width"]
    images_after: UInt8[Tensor, "scene 3 height width"]
    truths_before: list[Truth]
    truths_after: list[Truth]
    found_before: list[Found]
    found_after: list[Found]
    missed_before: Int64[Tensor, " scene"]
    missed_after: Int64[Tensor, " scene"]
    success: Bool[Tensor, " scene"]
    loss: Float[Tensor, "scene evaluation"]
    renders: Int64[Tensor, " scene"]

    def __len__(self) -> int:
        return len(self.success)

    def __getitem__(self, rows: Int64[Tensor, " row"]) -> "DetectionCounterexamples":
        chosen: dict[str, Any] = {
            name: [value[i] for i in rows.tolist()] if isinstance(value, list) else value[rows]
            for name, value in vars(self).items()
        }
        return DetectionCounterexamples(**chosen)

    @property
    def already_missed(self) -> Bool[Tensor, " scene"]:
        """Where the detector finds no object from the start, or there is none: never a success."""
        counts = torch.tensor([len(truth.labels) for truth in self.truths_before])
        return self.missed_before == counts

    def images(self, classes: tuple[str, ...]) -> DetectionImages:
        """Return what the attack left as labelled images, to train a detector on or measure it."""
        return DetectionImages(self.images_after, self.truths_after, classes)

    def figures(self) -> dict[str, Any]:
        """Return the counts: what the attack cost the detector."""
        return {
            "scenes": len(self),
            "already_missed": int(self.already_missed.sum()),
            "found": int(self.success.sum()),
            "renders": int(self.renders.sum()),
            "objects_before": sum(len(truth.labels) for truth in self.truths_before),
            "objects_after": sum(len(truth.labels) for truth in self.truths_after),
            "missed_before": int(self.missed_before.sum()),
            "missed_after": int(self.missed_after.sum()),
        }

    @staticmethod
    def joined(parts: "Sequence[DetectionCounterexamples]") -> "DetectionCounterexamples":
        """Join what was found in several batches."""
        whole: dict[str, Any] = {}
        for name in (each.name for each in dataclasses.fields(DetectionCounterexamples)):
            values = [getattr(part, name) for part in parts]
            if isinstance(values[0], Scene):
                whole[name] = concatenate(values)
            elif isinstance(values[0], list):
                whole[name] = [each for value in values for each in value]
            else:
                whole[name] = torch.cat(values)
        return DetectionCounterexamples(**whole)


def save_detection_counterexamples(folder: Path, found: DetectionCounterexamples) -> None:
    """Write a folder: the scenes, what moved in them and every array, and the figures as JSON."""
    with replace_directory(folder) as aside:
        save_scene(aside / "before.safetensors", found.before)
        # The meshes are the same: only what moved is written again.
        start = found.before.parameters()
        moved = {k: v for k, v in found.after.parameters().items() if not v.equal(start[k])}
        save_file({k: v.contiguous() for k, v in moved.items()}, aside / "after.safetensors")
        arrays = {name: getattr(found, name).contiguous() for name in _ARRAYS}
        for name, kind in _OBJECTS.items():
            rows = getattr(found, name)
            arrays[f"{name}.counts"] = torch.tensor([len(row.labels) for row in rows])
            for part in kind._fields:
                arrays[f"{name}.{part}"] = torch.cat([getattr(row, part) for row in rows])
        save_file(arrays, aside / "arrays.safetensors")
        write_json(aside / "figures.json", found.figures())


def load_detection_counterexamples(folder: Path) -> DetectionCounterexamples:
    """Read what `save_detection_counterexamples` wrote.

    Raises:
        BadInput: a file is missing, damaged, or holds something else.
    """
    before = load_scene(folder / "before.safetensors")
    path = folder / "arrays.safetensors"
    arrays = _load(path)
    parts = {f"{n}.{p}" for n, kind in _OBJECTS.items() for p in ("counts", *kind._fields)}
    if set(arrays) != {*_ARRAYS, *parts}:
        wrong = ", ".join(sorted(set(arrays) ^ {*_ARRAYS, *parts}))
        raise BadInput(f"{path}: not a file of counterexamples: missing or unknown: {wrong}")
    try:
        after = before.replace(**_load(folder / "after.safetensors"))
        objects: dict[str, Any] = {name: _rows(arrays, name) for name in _OBJECTS}
    except (BadInput, RuntimeError) as error:
        raise BadInput(f"{folder}: the files do not fit together: {error}") from None
    lengths = {name: len(arrays[name]) for name in _ARRAYS}
    lengths |= {name: len(rows) for name, rows in objects.items()}
    if {*lengths.values()} != {len(before)}:
        raise BadInput(f"{path}: {len(before)} scenes, but arrays of other lengths: {lengths}")
    plain: dict[str, Any] = {name: arrays[name] for name in _ARRAYS}
    return DetectionCounterexamples(before=before, after=after, **plain, **objects)


_ARRAYS = (
    "images_before", "images_after", "missed_before", "missed_after", "success", "loss", "renders",
)  # fmt: skip
_OBJECTS: dict[str, type[Truth] | type[Found]] = {
    "truths_before": Truth,
    "truths_after": Truth,
    "found_before": Found,
    "found_after": Found,
}


def _rows(arrays: dict[str, Tensor], name: str) -> list[Any]:
    """Return what each scene has of some objects."""
    counts, kind = arrays[f"{name}.counts"].tolist(), _OBJECTS[name]
    parts = [arrays[f"{name}.{part}"].split(counts) for part in kind._fields]
    return [kind(*row) for row in zip(*parts, strict=True)]


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path}: cannot be read as counterexamples: {error}") from None
