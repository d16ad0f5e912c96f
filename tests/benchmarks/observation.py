"""What peers see of an image: the pixels, the maps of each block, the last features, the logits."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from guard.errors import BadInput
from guard.progress import track
from offline.datasets import ImageSet, Subset, batches
from offline.networks import SmallResNet

__all__ = ["Observation", "Parts", "Training", "observe", "observe_training", "parts_of"]

BATCH = 250


class Parts(NamedTuple):
    """A classifier cut up: images → `blocks`, one after the other → `neck` → `head` → logits.

    Attributes:
        model: the whole.
        blocks: each gives maps [batch, channel, height, width].
        neck: the last maps to the features [batch, feature] that the head takes.
        head: the last layer.
    """

    model: nn.Module
    blocks: tuple[nn.Module, ...]
    neck: nn.Sequential
    head: nn.Linear

    @property
    def backbone(self) -> nn.Sequential:
        """Images to the last maps."""
        return nn.Sequential(*self.blocks).eval()

    @property
    def tail(self) -> nn.Sequential:
        """The last maps to logits."""
        return nn.Sequential(self.neck, self.head).eval()

    @property
    def encoder(self) -> nn.Sequential:
        """Images to features."""
        return nn.Sequential(*self.blocks, self.neck).eval()


class Observation(NamedTuple):
    """One batch, run through the network once for all peers."""

    images: Float[Tensor, "b c h w"]
    maps: tuple[Float[Tensor, "b _ _ _"], ...]
    features: Float[Tensor, "b feature"]
    logits: Float[Tensor, "b class"]


class Training(NamedTuple):
    """What peers are fitted to: a part of the training images, and held-out logits.

    Attributes:
        images, labels: of the same n training images as the rest.
        pooled: the mean over space of each block's maps.
        held_out_logits, held_out_labels: of the calibration set, which the model never saw.
    """

    images: Float[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]
    pooled: tuple[Float[Tensor, "n _"], ...]
    features: Float[Tensor, "n feature"]
    logits: Float[Tensor, "n class"]
    held_out_logits: Float[Tensor, "m class"]
    held_out_labels: Int64[Tensor, " m"]

    def loader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return images and labels in batches, for detectors that run the network themselves."""
        return DataLoader(TensorDataset(self.images, self.labels), batch_size=BATCH)


def parts_of(model: nn.Module) -> Parts:
    """Cut up a reference network.

    Raises:
        BadInput: it is neither a `SmallResNet` nor a Sequential that flattens once and ends with a
            linear layer.
    """
    if isinstance(model, SmallResNet):
        blocks = (model.stem, *model.stages)
        return Parts(model, blocks, nn.Sequential(model.pool, nn.Flatten()), model.head)
    if isinstance(model, nn.Sequential):
        modules = [*model]
        flat = [at for at, module in enumerate(modules) if isinstance(module, nn.Flatten)]
        head = modules[-1]
        if len(flat) == 1 and isinstance(head, nn.Linear):
            neck = nn.Sequential(*modules[flat[0] : -1])
            return Parts(model, tuple(modules[: flat[0]]), neck, head)
    raise BadInput(f"peers: a {type(model).__name__} cannot be cut into blocks, neck and head")


@torch.no_grad()
def observe(parts: Parts, images: Float[Tensor, "b c h w"]) -> Observation:
    """Run a batch through the network, which must be in eval mode."""
    maps = []
    hidden = images
    for block in parts.blocks:
        hidden = block(hidden)
        maps.append(hidden)
    features = parts.neck(hidden)
    return Observation(images, tuple(maps), features, parts.head(features))


def observe_training(
    parts: Parts, train: ImageSet, held_out: ImageSet, count: int, seed: int
) -> Training:
    """Observe `count` training images drawn by `seed` (all where there are fewer)."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    chosen = Subset(train, order[:count])
    seen = [(found, _pooled(found)) for found in _observations(parts, chosen)]
    return Training(
        images=torch.cat([found.images for found, _ in seen]),
        labels=chosen.labels,
        pooled=tuple(torch.cat(maps) for maps in zip(*(pooled for _, pooled in seen), strict=True)),
        features=torch.cat([found.features for found, _ in seen]),
        logits=torch.cat([found.logits for found, _ in seen]),
        held_out_logits=torch.cat([found.logits for found in _observations(parts, held_out)]),
        held_out_labels=held_out.labels,
    )


def _observations(parts: Parts, image_set: ImageSet) -> Iterator[Observation]:
    steps = -(-len(image_set) // BATCH)
    for images, _ in track(batches(image_set, BATCH), "Observing clean images", steps):
        found = observe(parts, images)
        yield found._replace(maps=tuple(maps.mean((2, 3), keepdim=True) for maps in found.maps))


def _pooled(found: Observation) -> tuple[Tensor, ...]:
    return tuple(maps.flatten(1) for maps in found.maps)
