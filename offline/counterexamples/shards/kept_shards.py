"""Which shards of an interrupted search are whole, so that it need not make them again.

Beside a shard lies its sum until the manifest, which has all of them, is written.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from jaxtyping import Int64
from pydantic import ValidationError
from torch import Tensor

from guard.errors import BadInput
from guard.storage import sha256_of, write_text
from offline.counterexamples.shards.manifest import MANIFEST, Shard, read_manifest
from offline.counterexamples.shards.sample import Origin
from offline.counterexamples.shards.shard_files import read_shard

__all__ = ["Part", "forget_sums", "keep_sum", "kept_shards"]

SUM = ".sum"


@dataclass(frozen=True, eq=False)
class Part:
    """The scenes of one shard.

    Attributes:
        start: which scene of the search the first one is.
        places: their numbers in their data set.
        labels: their true classes.
    """

    start: int
    places: Int64[Tensor, " scene"]
    labels: Int64[Tensor, " scene"]

    @property
    def name(self) -> str:
        """The shard's file."""
        return f"{self.start:08d}.tar"


def keep_sum(folder: Path, shard: Shard) -> None:
    """Write down that a shard is whole, once it is."""
    write_text((folder / shard.name).with_suffix(SUM), shard.model_dump_json())


def forget_sums(folder: Path) -> None:
    """Remove the sums, once the manifest has them."""
    for path in folder.glob(f"*{SUM}"):
        path.unlink()


def kept_shards(folder: Path, parts: Sequence[Part], origin: Origin) -> dict[str, Shard]:
    """Return the shards of a search that lie in the folder, by name, and remove all others.

    Kept are those whose SHA-256 is what was written down, of the same scenes and the same origin.
    With others there the manifest goes too; until a new one comes, the folder is not whole.
    """
    known = _known(folder)
    kept = {
        part.name: known[part.name]
        for part in parts
        if part.name in known and _is_of(folder / part.name, known[part.name], part, origin)
    }
    for shard in kept.values():
        keep_sum(folder, shard)
    for path in (*folder.glob("*.tar"), *folder.glob(f"*{SUM}")):
        if path.with_suffix(".tar").name not in kept:
            path.unlink()
    for path in (*folder.glob(".*.partial"), folder / MANIFEST):
        path.unlink(missing_ok=True)
    return kept


def _known(folder: Path) -> Mapping[str, Shard]:
    """Return what is written of shards: in the manifest, or where there is none, beside them."""
    with suppress(BadInput):
        return {shard.name: shard for shard in read_manifest(folder).shards}
    known = {}
    for path in folder.glob(f"*{SUM}"):
        with suppress(ValidationError):
            known[path.with_suffix(".tar").name] = Shard.model_validate_json(path.read_bytes())
    return known


def _is_of(path: Path, shard: Shard, part: Part, origin: Origin) -> bool:
    if not path.is_file() or sha256_of(path) != shard.sha256:
        return False
    try:
        facts = [sample.facts for sample in read_shard(path)]
    except BadInput:  # of another release
        return False
    rows = zip(count(part.start), part.places.tolist(), part.labels.tolist(), strict=False)
    same = [(each.index, each.place, each.label) for each in facts] == list(rows)
    return same and all(each.origin == origin for each in facts)
