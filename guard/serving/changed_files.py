"""Whether files are still those that were read."""

from pathlib import Path

__all__ = ["Stamp", "stamp"]

Stamp = tuple[tuple[int, int, int] | None, ...]


def stamp(*files: Path) -> Stamp:
    """Return a value that differs once one of the files is written, replaced or removed.

    Links are followed, as Kubernetes changes mounted secrets by moving a link.
    """
    return tuple(map(_of_one, files))


def _of_one(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
