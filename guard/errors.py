"""The errors that a user can cause or must hear of.

    CornerguardError           exit code 1: the work could not be done
    ├── BadInput               exit code 2: something the user gave is wrong
    │   └── BadBundle          a guard bundle that must not be loaded
    └── FellShort              a figure is below the floor that the recipe set

Each message is one line that names what, where, and what is allowed.
"""

import difflib
from collections.abc import Iterable

__all__ = ["BadBundle", "BadInput", "CornerguardError", "FellShort", "nearest", "one_line"]


class CornerguardError(Exception):
    """The work could not be done; the message says why in one line."""

    exit_code = 1


class BadInput(CornerguardError):
    """Something that the user gave is wrong; the message names it and where it was named."""

    exit_code = 2


class BadBundle(BadInput):
    """A guard bundle is damaged, altered, or of another version, and must not be loaded."""


class FellShort(CornerguardError):
    """A measured figure is below the floor that the recipe sets."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name comes closest: `"; did you mean 'conv2'?"`, or list what there is."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"; there are: {shown}" if names else ""


def one_line(error: Exception) -> str:
    """Return the message of an error that is not ours on one line of at most 300 characters."""
    return " ".join(str(error).split())[:300] or type(error).__name__
