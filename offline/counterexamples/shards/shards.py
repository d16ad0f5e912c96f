"""An attack on many scenes, cut into shards: tasks of joblib, each of which writes one file.

A shard is a batch, and is computed on one thread, so its bytes do not tell how many shards were at
work at once, nor where. What an interrupted search has written, the next one keeps.
"""

import copy
import hashlib
import platform
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int64
from joblib import Parallel, delayed
from safetensors.torch import save
from torch import Tensor, nn

from guard.errors import BadInput
from guard.progress import CONSOLE, track
from guard.storage import sha256_of
from offline.attacks import held_still
from offline.cluster import on_ray
from offline.counterexamples.search import find_counterexamples
from offline.counterexamples.shards.kept_shards import Part, forget_sums, keep_sum, kept_shards
from offline.counterexamples.shards.manifest import Manifest, Shard, write_manifest
from offline.counterexamples.shards.sample import Origin
from offline.counterexamples.shards.search_settings import SearchSettings
from offline.counterexamples.shards.shard_files import write_shard
from offline.counterexamples.shards.stored import as_stored, samples_of
from offline.one_thread import one_thread
from offline.rendering.engines import EngineSettings
from offline.rendering.scene import Scene

__all__ = ["Subjects", "fingerprint_of", "write_shards"]

WORKERS = {
    # Spread over the nodes, one for each core. When a node is lost, its workers start again on the
    # others, which have room because none claims a whole core, and do the unfinished shards again.
    "num_cpus": 0.1,
    "scheduling_strategy": "SPREAD",
    "max_restarts": -1,
    "max_task_retries": 99,
}


class Subjects(NamedTuple):
    """The scenes to be attacked, drawn a shard at a time.

    Attributes:
        places: their numbers in the data set that they come from.
        labels: their true classes.
        scenes: draws the scenes at some places, the same bits each time.
        seed: of that set.
        engine: what renders them.
    """

    places: Int64[Tensor, " scene"]
    labels: Int64[Tensor, " scene"]
    scenes: Callable[[Int64[Tensor, " some"]], Scene]
    seed: int
    engine: EngineSettings


def write_shards(
    folder: Path,
    model: nn.Module,
    subjects: Subjects,
    settings: SearchSettings,
    device: torch.device | str = "cpu",
) -> Manifest:
    """Attack every scene and write a folder of shards, its manifest last.

    Shards of the same search that lie in the folder, from one that was interrupted, are kept if
    they are whole; all else there that is a shard's is made anew. Only one process may be at work
    on a folder.

    Args:
        folder: for a cluster, on a disk that all its nodes share.
        model: images [batch, 3, height, width] to logits.
        subjects: the scenes.
        settings: the attack, and how its work is given out.
        device: where shards are attacked; on a cluster it is the CPU.

    Raises:
        BadInput: there are no scenes, or the backend is Ray, and it is not installed, no cluster
            answers, or a node does not see the folder.
    """
    if not len(subjects.places):
        raise BadInput("no scenes to attack: at least one is wanted")
    origin = Origin(
        seed=subjects.seed,
        attack=settings.attack_alone,
        renderer=subjects.engine,
        model=fingerprint_of(model),
    )
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    size = settings.shard
    parts = [
        Part(number * size, places, labels)
        for number, (places, labels) in enumerate(
            zip(subjects.places.split(size), subjects.labels.split(size), strict=True)
        )
    ]
    kept = kept_shards(folder, parts, origin)
    if kept:
        CONSOLE.print(f"{len(kept)} of {len(parts)} shards are there already", highlight=False)
    lacking = [part for part in parts if part.name not in kept]
    device = torch.device("cpu" if settings.backend == "ray" else device)
    own = copy.deepcopy(model).to(device)
    title = f"{settings.attack} on {len(subjects.places)} scenes in {len(parts)} shards"
    # Counted are tasks given out, a few ahead of those done, because Ray's backend gives no results
    # before the last. The scenes of each are drawn when it is given out.
    tasks = (
        delayed(_attack)(folder, part, subjects.scenes(part.places), own, origin, device)
        for part in track(lacking, title, len(lacking))
    )
    cluster = on_ray("counterexamples.backend", **WORKERS)
    jobs = 1 if device.type == "cuda" else settings.jobs
    with held_still(own), one_thread(), cluster if settings.backend == "ray" else nullcontext():
        # One task at a time: several short ones would be given out together.
        made = Parallel(n_jobs=jobs, prefer="threads", batch_size=1)(tasks)
    shards = kept | {shard.name: shard for shard in made}
    manifest = write_manifest(folder, origin, tuple(shards[part.name] for part in parts))
    forget_sums(folder)
    return manifest


def fingerprint_of(model: nn.Module) -> str:
    """Return the SHA-256 of a model's weights and buffers, as hexadecimal."""
    tensors = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    return hashlib.sha256(save({k: v.clone() for k, v in tensors.items()})).hexdigest()


def _attack(
    folder: Path,
    part: Part,
    scenes: Scene,
    model: nn.Module,
    origin: Origin,
    device: torch.device,
) -> Shard:
    """Attack the scenes of one shard and write it: the task that joblib gives out."""
    if not folder.is_dir():
        raise BadInput(
            f"{folder}: is not there on the node {platform.node()}; all nodes of a cluster must "
            "share the disk that it is on"
        )
    renderer = origin.renderer.renderer()
    with one_thread():
        found = find_counterexamples(
            renderer, model, scenes.to(device), part.labels, origin.attack, len(scenes)
        )
        found = as_stored(found, renderer, model)
    path = folder / part.name
    write_shard(path, samples_of(found, part.start, part.places, origin))
    shard = Shard(
        name=path.name, sha256=sha256_of(path), scenes=len(found), found=int(found.success.sum())
    )
    keep_sum(folder, shard)
    return shard
