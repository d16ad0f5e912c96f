"""Trained models and attacked scenes, kept under what they were made from: a run goes on there."""

import copy
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int64, UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import offline
from guard.settings import Settings
from guard.storage import replace_directory, write_json
from offline.counterexamples import (
    AttackSettings,
    Counterexamples,
    find_counterexamples,
    load_counterexamples,
    save_counterexamples,
)
from offline.counterexamples.sampling.sampling import sample_counterexamples
from offline.counterexamples.sampling.sampling_settings import SamplingSettings
from offline.datasets import ImageSet
from offline.hardening import TrainSettings, train
from offline.hardening.checkpoint import sum_of
from offline.models import load_weights, save_weights
from offline.rendering import Rasterizer
from tests.benchmarks.scene_images import CACHE, SceneImages

__all__ = ["Hunted", "hunted", "moved_images", "trained"]

AT_ONCE = 320
CODE = ("attacks", "counterexamples", "rendering")


class Hunted(NamedTuple):
    """What a search left of some scenes, and how many seconds it took."""

    found: Counterexamples
    seconds: float

    @property
    def seconds_each(self) -> float | None:
        """Seconds for each counterexample; None where none was found."""
        count = int(self.found.success.sum())
        return self.seconds / count if count else None


def trained(model: nn.Module, images: ImageSet, settings: TrainSettings, seed: int) -> nn.Module:
    """Train a copy of a model, or take its weights from where they were kept."""
    made_from = {
        "start": sum_of(model.state_dict()),
        "images": images.fingerprint(),
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
    }
    key = _digest(made_from)
    weights, result = CACHE / f"model-{key}.safetensors", copy.deepcopy(model)
    if not weights.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        checkpoint = CACHE / f"training-{key}"
        train(result, images, settings, seed, checkpoint=checkpoint)
        save_weights(result, weights)
    load_weights(result, weights)
    return result.eval()


def hunted(
    model: nn.Module,
    images: SceneImages,
    rows: Int64[Tensor, " row"],
    settings: AttackSettings | SamplingSettings,
) -> Hunted:
    """Attack or sample the scenes of some images, or take what was found before by the same code.

    The renderer is the rasterizer with one sample a pixel, which rendered the images.
    """
    folder = CACHE / f"hunt-{_key(model, images, rows, settings)}"
    clock = folder.with_suffix(".json")
    if not clock.is_file():
        scenes, size = images.scenes(rows), images.shape[1]
        renderer, labels = Rasterizer(size, size, 1), images.labels[rows]
        search: Callable[..., Counterexamples] = (
            find_counterexamples if isinstance(settings, AttackSettings) else sample_counterexamples
        )
        start = time.perf_counter()
        found = search(renderer, model, scenes, labels, settings)
        seconds = time.perf_counter() - start
        CACHE.mkdir(parents=True, exist_ok=True)
        save_counterexamples(folder, found)
        write_json(clock, {"seconds": seconds})
    return Hunted(load_counterexamples(folder), json.loads(clock.read_text())["seconds"])


def moved_images(
    model: nn.Module, images: SceneImages, rows: Int64[Tensor, " row"], settings: AttackSettings
) -> tuple[UInt8[Tensor, "row channel height width"], Bool[Tensor, " row"]]:
    """Attack the scenes of many images, and keep of it the images and which are counterexamples.

    For training alone: the model is attacked in bfloat16, which takes half the time.
    """
    folder = CACHE / f"low-{_key(model, images, rows, settings)}"
    if not folder.is_dir():
        size, parts, low = images.shape[1], [], _LowPrecision(model)
        for part in rows.split(AT_ONCE):
            found = find_counterexamples(
                Rasterizer(size, size, 1), low, images.scenes(part), images.labels[part], settings
            )
            parts.append({"images": found.images_after, "success": found.success})
        CACHE.mkdir(parents=True, exist_ok=True)
        whole = {name: torch.cat([each[name] for each in parts]) for name in parts[0]}
        with replace_directory(folder) as aside:
            save_file(whole, aside / "moved.safetensors")
    kept = load_file(folder / "moved.safetensors")
    return kept["images"], kept["success"]


class _LowPrecision(nn.Module):
    """A model as the trainer runs it: convolutions in bfloat16, channels last."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, dtype=torch.bfloat16):
            logits: Tensor = self.model(images)
        return logits.float()


def _key(model: nn.Module, images: SceneImages, rows: Tensor, settings: Settings) -> str:
    made_from = {
        "model": sum_of(model.state_dict()),
        "images": images.made_from,
        "rows": rows.tolist(),
        "settings": [type(settings).__name__, settings.model_dump(mode="json")],
        "code": _code(),
    }
    return _digest(made_from)


def _digest(made_from: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:12]


def _code() -> str:
    """Return a digest of the code that finds counterexamples."""
    root, digest = Path(offline.__file__).parent, hashlib.sha256()
    for folder in CODE:
        for file in sorted((root / folder).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()
