"""A small search in shards: procedural objects, and a random network that is right at the start."""

from functools import cache
from pathlib import Path

import torch
from torch import nn

from offline.counterexamples import SearchSettings, Subjects, write_shards
from offline.rendering.alone import images_alone
from offline.rendering.engines import EngineSettings
from offline.rendering.sampling import sample_scenes
from offline.rendering.scene import concatenate

ENGINE = EngineSettings(height=32, width=32)
SETTINGS = SearchSettings(steps={"pose": 0.2, "vertices": 0.004}, iterations=3, shard=3, jobs=1)
COUNT = 8
PLACES = torch.arange(3, 3 + COUNT)


def network():
    """Build a network of which nobody knows what it sees, the same one each time."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 5, 2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 14 * 14, 12),
    )
    draw = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=draw) / weight[0].numel() ** 0.5)
        model.eval()[-1].bias.sub_(model(images()).mean(dim=0))  # or it would see one class alone
    return model


def drawn(places):
    """Draw each scene from its number."""
    return concatenate(
        [
            sample_scenes(place % 12, torch.Generator().manual_seed(int(place)), 32)
            for place in places[:, None]
        ]
    )


@cache
def images():
    return images_alone(ENGINE.renderer(), drawn(PLACES)).float() / 255


@cache
def subjects():
    with torch.no_grad():
        labels = network()(images()).argmax(dim=1)
    return Subjects(PLACES, labels, drawn, 7, ENGINE)


def written(folder: Path, **settings):
    """Search, and return the bytes of every file."""
    write_shards(folder, network(), subjects(), SETTINGS.model_copy(update=settings))
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
