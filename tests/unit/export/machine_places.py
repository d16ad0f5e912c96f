"""Where on this machine things lie, and which files say so."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from tempfile import gettempdir
from zipfile import ZipFile, is_zipfile

import torch

__all__ = ["found_in"]


def found_in(path: Path) -> list[tuple[str, bytes]]:
    """Name each part of a file that names a folder of this machine, and that folder."""
    return [
        (name, place)
        for name, content in _contents(path.name, path.read_bytes())
        for place in _places()
        if place in content or place in name.encode()
    ]


def _contents(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a file's bytes, and those of all that is packed in it."""
    yield name, content
    if is_zipfile(BytesIO(content)):
        with ZipFile(BytesIO(content)) as packed:
            for record in packed.namelist():
                yield from _contents(f"{name}:{record}", packed.read(record))


def _places() -> list[bytes]:
    """Return the folders of this project, of whoever runs it, of torch and of what passes."""
    root = Path(__file__).parents[3]
    folders = (root, Path.home(), Path(gettempdir()), Path(torch.__file__).parent)
    return [f"{folder}/".encode() for folder in folders if folder.name]
