"""Leaving the exporting machine out of what torch packs into its archives."""

from collections.abc import Iterable
from pathlib import Path
from zipfile import ZipFile

__all__ = ["forget_places"]


def forget_places(path: Path, dropped: Iterable[str], places: Iterable[Path] = ()) -> None:
    """Write a zip archive anew without some of its records, and without the names of places.

    Args:
        path: the archive, as torch wrote it; each record is read into memory alone.
        dropped: the endings of records that the loader does not need.
        places: folders; slashes as many as its letters stand for each in what is left, because in
            machine code nothing may move.
    """
    aside = path.with_name(f".{path.name}.partial")
    with ZipFile(path) as whole, ZipFile(aside, "w") as kept:
        for record in whole.infolist():
            if not record.filename.endswith(tuple(dropped)):
                content = whole.read(record)
                for place in places:
                    name = str(place).encode()
                    content = content.replace(name, b"/" * len(name))
                kept.writestr(record, content)
    aside.replace(path)
