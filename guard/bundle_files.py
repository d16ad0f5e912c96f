"""The files of a bundle's folder: plain ones, each under one name on every system."""

import stat
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from guard.errors import BadBundle
from guard.storage import sha256_of

__all__ = [
    "MANIFEST_NAME",
    "SIGNATURE_NAME",
    "by_folder",
    "files_in",
    "read_bounded",
    "require_portable",
    "shown",
    "sum_of",
]

MANIFEST_NAME = "guard.json"
SIGNATURE_NAME = "model.sig"


def files_in(folder: Path) -> set[str]:
    """Name every file under `folder`, from there and with slashes; none is opened.

    Raises:
        BadBundle: there is a link, which could lead anywhere; a pipe, socket or device, whose
            reading may never end; or a folder that cannot be listed.
    """
    names, folders = set(), [folder]
    while folders:
        try:
            entries = {path: path.lstat().st_mode for path in folders.pop().iterdir()}
        except OSError as error:
            raise BadBundle(f"{shown(error.filename)}: cannot be read: {error.strerror}") from None
        for path, mode in entries.items():
            if stat.S_ISLNK(mode):
                raise BadBundle(f"{shown(path)}: is a link; a bundle holds plain files only")
            if stat.S_ISDIR(mode):
                folders.append(path)
            elif stat.S_ISREG(mode):
                names.add(path.relative_to(folder).as_posix())
            else:
                raise BadBundle(
                    f"{shown(path)}: is a pipe, socket or device; a bundle holds plain files only"
                )
    return names


def by_folder(sizes: Mapping[str, int]) -> dict[str, list[int]]:
    """Gather the bytes of files by name, those of a folder under the folder's: `report/`."""
    found: dict[str, list[int]] = {}
    for name, size in sizes.items():
        folder, inside, _ = name.partition("/")
        found.setdefault(folder + inside, []).append(size)
    return found


def require_portable(names: Iterable[str], folder: Path) -> None:
    """Refuse names that lead out of the folder, or that some systems take for another's.

    Raises:
        BadBundle: a name is absolute, climbs, has a backslash, a colon or what does not print, or
            differs from another only in case or in how its accents are composed.
    """
    known: dict[str, str] = {}
    for name in sorted(names):
        parts = PurePosixPath(name).parts
        if not parts or name != "/".join(parts) or ".." in parts or set(name) & {"\\", ":"}:
            raise BadBundle(f"{folder}: the file name {name!r} points outside the bundle")
        if not name.isprintable():
            raise BadBundle(f"{folder}: the file name {name!r} has characters that do not print")
        for whole in (PurePosixPath(name), *PurePosixPath(name).parents):
            folded = unicodedata.normalize("NFC", str(whole)).casefold()
            if known.setdefault(folded, str(whole)) != str(whole):
                raise BadBundle(
                    f"{folder}: the file names {known[folded]!r} and {str(whole)!r} are one and "
                    "the same to systems that do not tell case"
                )


def sum_of(path: Path) -> str:
    """Return the SHA-256 of a bundle's file as lower-case hexadecimal.

    Raises:
        BadBundle: it cannot be read.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise BadBundle(f"{path}: cannot be read: {error.strerror}") from None


def read_bounded(path: Path, limit: int) -> bytes:
    """Return what is in a bundle's file, which may be `limit` bytes at most.

    Raises:
        BadBundle: it is longer, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise BadBundle(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise BadBundle(f"{path}: is longer than {limit} bytes, the most that is read")
    return content


def shown(path: Path | str) -> str:
    """Return a path as a terminal may print it: whoever names a file may have meant mischief."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in str(path))
