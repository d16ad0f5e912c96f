"""The manifest of a folder of shards: written last, so that a folder that has one is whole."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, ValidationError, model_validator

from guard.errors import BadInput
from guard.settings import Settings
from guard.storage import write_text
from offline.counterexamples.shards.sample import Origin

__all__ = ["MANIFEST", "Manifest", "Shard", "read_manifest", "versions", "write_manifest"]

MANIFEST = "manifest.json"


class Shard(Settings):
    """One file of samples.

    Attributes:
        sha256: of the file.
        scenes: how many samples are in it.
        found: how many of these are counterexamples.
    """

    name: str = Field(pattern=r"^\d{8}\.tar$")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    scenes: int = Field(ge=1)
    found: int = Field(ge=0)


class Manifest(Settings):
    """What is in a folder of shards.

    Attributes:
        scenes, found: the sums over all shards.
        versions: of what made them; the same bits are promised for the same.
    """

    schema_version: Literal[1] = 1
    origin: Origin
    scenes: int = Field(ge=1)
    found: int = Field(ge=0)
    shards: tuple[Shard, ...] = Field(min_length=1)
    versions: dict[str, str]

    @model_validator(mode="after")
    def _sums(self) -> "Manifest":
        for name in ("scenes", "found"):
            counted = sum(getattr(shard, name) for shard in self.shards)
            if counted != getattr(self, name):
                raise ValueError(f"{name} is {getattr(self, name)}, but the shards have {counted}")
        return self


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder.

    Raises:
        BadInput: it is missing, so that the folder is not whole, or damaged.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{path}: {where}: {first['msg']}") from None


def write_manifest(folder: Path, origin: Origin, shards: tuple[Shard, ...]) -> Manifest:
    """Write the manifest, whole or not at all."""
    manifest = Manifest(
        origin=origin,
        scenes=sum(shard.scenes for shard in shards),
        found=sum(shard.found for shard in shards),
        shards=shards,
        versions=versions(),
    )
    write_text(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    return manifest


def versions() -> dict[str, str]:
    """Return the versions of what decides the bits of an image, and the kind of this CPU."""
    names = ("cornerguard", "numpy", "pillow", "torch")
    return {
        **{name: version(name) for name in names},
        "python": platform.python_version(),
        "cpu": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
    }
