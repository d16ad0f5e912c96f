"""Whether files are still those that were read: cheap to ask, again and again."""

from pathlib import Path

__all__ = ["Stamp", "stamp"]

Stamp = tuple[tuple[int, ...] | None, ...]


def stamp(*files: Path) -> Stamp:
    """Return a value that differs once one of the files is written, replaced or removed.

    It has None for a file that is not there. Links are followed, as Kubernetes changes mounted
    secrets by moving a link.
    """
    return tuple(map(_of_one, files))


def _of_one(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
