"""A shard: a tar file of samples, as WebDataset reads them; the same bytes whoever writes it.

A sample is five files in a row, `KEY.before.png` and so on, whose key is the scene's number.
"""

import io
import re
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from guard.errors import BadInput, one_line
from guard.storage import replace_file
from offline.counterexamples.shards.sample import PARTS, Sample, sample_of

__all__ = ["read_shard", "write_shard"]

NAME = re.compile(r"(\d{8})\.(" + "|".join(map(re.escape, PARTS)) + ")", re.ASCII)


def write_shard(path: Path, samples: Iterable[Sample]) -> None:
    """Write a shard, whole or not at all."""
    with (
        replace_file(path) as aside,
        tarfile.open(aside, "w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for sample in samples:
            for name, content in sample.parts().items():
                member = tarfile.TarInfo(f"{sample.facts.index:08d}.{name}")  # of nobody, in 1970
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def read_shard(path: Path) -> Iterator[Sample]:
    """Yield the samples of a shard, one in memory at a time; nothing is unpacked to the disk.

    Raises:
        BadInput: the file is missing, damaged, or no shard.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            while first := tar.next():
                key = _key(first, path)
                members = [first, *(tar.next() for _ in range(len(PARTS) - 1))]
                yield sample_of(_parts(tar, members, key, path), f"{path}: {key}")
    except (OSError, tarfile.TarError) as error:
        raise BadInput(f"{path}: cannot be read as a shard: {one_line(error)}") from None


def _key(member: tarfile.TarInfo, path: Path) -> str:
    named = NAME.fullmatch(member.name)
    if named is None:
        raise BadInput(f"{path}: {member.name[:60]!r} is no file of a sample")
    return named[1]


def _parts(
    tar: tarfile.TarFile, members: list[tarfile.TarInfo | None], key: str, path: Path
) -> dict[str, bytes]:
    """Return the files of a sample, which must be those of `PARTS`, plain and not too large."""
    parts = {}
    for member, (part, most) in zip(members, PARTS.items(), strict=True):
        name = f"{key}.{part}"
        if member is None or member.name != name:
            found = "its end" if member is None else f"{member.name[:60]!r}"
            raise BadInput(f"{path}: {found} is where {name!r} is wanted")
        if member.type != tarfile.REGTYPE or member.size > most:
            raise BadInput(f"{path}: {name!r} is not a plain file of at most {most} bytes")
        content = tar.extractfile(member)
        parts[part] = content.read() if content else b""
    return parts
