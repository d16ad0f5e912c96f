"""Which request goes first: levels as callers know them, and as the queue counts them."""

from typing import Final

from guard.errors import BadInput

__all__ = ["ALLOWED", "DEFAULT", "LEVELS", "priority_of"]

LEVELS: Final = 9
DEFAULT: Final = 5
"""How many levels Triton's `priority` has here, 1 the highest; and the one that 0 stands for."""
ALLOWED: Final = f"1 (the highest) to {LEVELS} are allowed, or 0 for {DEFAULT}"


def priority_of(level: int) -> int:
    """Return a level as the queue counts it: the higher goes first, and 0 is the default.

    Raises:
        BadInput: there is no such level.
    """
    if not 0 <= level <= LEVELS:
        raise BadInput(f"priority: {level}; {ALLOWED}")
    return DEFAULT - (level or DEFAULT)
