"""Between what a search found and the samples of shards."""

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from guard.errors import BadInput
from guard.storage import sha256_of
from offline.corner_cases.prediction import predict
from offline.counterexamples.found import Counterexamples
from offline.counterexamples.shards.manifest import read_manifest
from offline.counterexamples.shards.sample import Facts, Origin, Sample
from offline.counterexamples.shards.shard_files import read_shard
from offline.rendering.alone import images_alone
from offline.rendering.renderer import Renderer
from offline.rendering.scene import concatenate
from offline.rendering.trimming import trimmed

__all__ = ["as_stored", "load_shards", "read_shards", "samples_of"]


def as_stored(found: Counterexamples, renderer: Renderer, model: nn.Module) -> Counterexamples:
    """Return the same with images that can be rendered again bit for bit, and the answers to them.

    The images of an attack are of batches that become smaller; rounding may differ by one in 255.
    A scene whose answer that changes does not count as a success.
    """
    before, after = (images_alone(renderer, scenes) for scenes in (found.before, found.after))
    said, says = (predict(model, images.float() / 255) for images in (before, after))
    same = (said.labels == found.predicted_before) & (says.labels == found.predicted_after)
    return dataclasses.replace(
        found,
        images_before=before,
        images_after=after,
        predicted_before=said.labels,
        predicted_after=says.labels,
        confidence_before=said.confidences,
        confidence_after=says.confidences,
        success=found.success & same,
    )


def samples_of(
    found: Counterexamples, start: int, places: Int64[Tensor, " scene"], origin: Origin
) -> Iterator[Sample]:
    """Yield each scene as a sample, numbered from `start`; its scenes without padding."""
    for row in range(len(found)):
        before, after = trimmed(found.before[row], found.after[row])
        facts = Facts(
            index=start + row,
            place=int(places[row]),
            label=int(found.labels[row]),
            predicted_before=int(found.predicted_before[row]),
            predicted_after=int(found.predicted_after[row]),
            confidence_before=_finite(found.confidence_before[row]),
            confidence_after=_finite(found.confidence_after[row]),
            success=bool(found.success[row]),
            loss=tuple(found.loss[row].tolist()),
            renders=int(found.renders[row]),
            origin=origin,
        )
        yield Sample(facts, before, after, found.images_before[row], found.images_after[row])


def read_shards(folder: Path) -> Iterator[Sample]:
    """Yield the samples of a folder in their order, one in memory at a time.

    Raises:
        BadInput: the manifest or a shard is missing or damaged; a shard is told before its first
            sample.
    """
    for shard in read_manifest(folder).shards:
        path = folder / shard.name
        try:
            whole = sha256_of(path) == shard.sha256
        except OSError as error:
            raise BadInput(f"{path}: cannot be read: {error.strerror}") from None
        if not whole:
            raise BadInput(f"{path}: is damaged: its SHA-256 is not the one in the manifest")
        yield from read_shard(path)


def load_shards(folder: Path) -> Counterexamples:
    """Read a whole folder.

    Raises:
        BadInput: as `read_shards`.
    """
    return gathered(read_shards(folder))


def gathered(samples: Iterable[Sample]) -> Counterexamples:
    """Join samples into one batch, padded to the largest scene.

    Raises:
        BadInput: there are none.
    """
    kept = list(samples)
    facts = [sample.facts for sample in kept]
    return Counterexamples(
        before=concatenate([sample.before for sample in kept]),
        after=concatenate([sample.after for sample in kept]),
        images_before=torch.stack([sample.image_before for sample in kept]),
        images_after=torch.stack([sample.image_after for sample in kept]),
        confidence_before=_floats([each.confidence_before for each in facts]),
        confidence_after=_floats([each.confidence_after for each in facts]),
        success=torch.tensor([each.success for each in facts]),
        loss=torch.tensor([each.loss for each in facts]),
        **{
            name: torch.tensor([getattr(each, field) for each in facts])
            for name, field in (("labels", "label"), *((name, name) for name in WHOLE_NUMBERS))
        },
    )


WHOLE_NUMBERS = ("predicted_before", "predicted_after", "renders")


def _finite(value: Tensor) -> float | None:
    return float(value) if bool(value.isfinite()) else None


def _floats(values: list[float | None]) -> Tensor:
    return torch.tensor([torch.nan if value is None else value for value in values])
