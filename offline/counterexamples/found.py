"""What a search for counterexamples found, and its folder on disk."""

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
from offline.rendering.scene import Scene
from offline.rendering.scene_files import load_scene, save_scene

__all__ = ["Counterexamples", "load_counterexamples", "save_counterexamples"]


@dataclass(frozen=True)
class Counterexamples:
    """Every scene that was attacked, in its order, with what came of it; tensors on the CPU.

    The predictions are the model's on the 8-bit images, those that are stored.

    Attributes:
        before, after: the scenes as they were and as the attack left them.
        images_before, images_after: their images.
        labels: the true classes.
        predicted_before, predicted_after: the model's labels.
        confidence_before, confidence_after: the softmax value of these labels.
        success: the model was right before and is wrong after: a semantic counterexample.
        loss: what the attack raised, at the start and after each step; a scene that stopped keeps
            its last value.
        renders: how many images were rendered to find it, the first one among them.
    """

    before: Scene
    after: Scene
    images_before: UInt8[Tensor, "scene channel height width"]
    images_after: UInt8[Tensor, "scene channel height width"]
    labels: Int64[Tensor, " scene"]
    predicted_before: Int64[Tensor, " scene"]
    predicted_after: Int64[Tensor, " scene"]
    confidence_before: Float[Tensor, " scene"]
    confidence_after: Float[Tensor, " scene"]
    success: Bool[Tensor, " scene"]
    loss: Float[Tensor, "scene evaluation"]
    renders: Int64[Tensor, " scene"]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def already_wrong(self) -> Bool[Tensor, " scene"]:
        """Which scenes the model misclassified before the attack; none of them is a success."""
        return self.predicted_before != self.labels

    def figures(self) -> dict[str, Any]:
        """Return the counts and the accuracies: what the attack cost the model."""
        return {
            "scenes": len(self),
            "already_wrong": int(self.already_wrong.sum()),
            "found": int(self.success.sum()),
            "renders": int(self.renders.sum()),
            "accuracy_before": _mean(self.predicted_before == self.labels),
            "accuracy_after": _mean(~self.already_wrong & ~self.success),
        }


def save_counterexamples(folder: Path, found: Counterexamples) -> None:
    """Write a folder: the scenes, what moved in them and every array, and the figures as JSON."""
    with replace_directory(folder) as aside:
        save_scene(aside / "before.safetensors", found.before)
        # The meshes are the same: only what moved is written again.
        start = found.before.parameters()
        moved = {k: v for k, v in found.after.parameters().items() if not v.equal(start[k])}
        save_file({k: v.contiguous() for k, v in moved.items()}, aside / "after.safetensors")
        arrays = {name: getattr(found, name).contiguous() for name in _ARRAYS}
        save_file(arrays, aside / "arrays.safetensors")
        write_json(aside / "figures.json", found.figures())


def load_counterexamples(folder: Path) -> Counterexamples:
    """Read what `save_counterexamples` wrote.

    Raises:
        BadInput: a file is missing, damaged, or holds something else.
    """
    path = folder / "arrays.safetensors"
    before = load_scene(folder / "before.safetensors")
    arrays = _load(path)
    try:
        after = before.replace(**_load(folder / "after.safetensors"))
    except BadInput as error:
        raise BadInput(f"{folder / 'after.safetensors'}: not what moved there: {error}") from None
    if set(arrays) != set(_ARRAYS):
        wrong = ", ".join(sorted(set(arrays) ^ set(_ARRAYS)))
        raise BadInput(f"{path}: not a file of counterexamples: missing or unknown: {wrong}")
    counts = {name: len(value) for name, value in arrays.items()}
    if {*counts.values(), len(before), len(after)} != {len(before)}:
        raise BadInput(f"{path}: {len(before)} scenes, but arrays of other lengths: {counts}")
    return Counterexamples(before=before, after=after, **arrays)


_ARRAYS = (
    "images_before", "images_after", "labels", "predicted_before", "predicted_after",
    "confidence_before", "confidence_after", "success", "loss",
    "renders",
)  # fmt: skip


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path}: cannot be read as counterexamples: {error}") from None


def _mean(values: Bool[Tensor, " scene"]) -> float:
    return float(values.to(torch.float64).mean())
