"""Progress bars on the standard error stream, so that output stays clean for pipes."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track

__all__ = ["CONSOLE", "track"]

CONSOLE = Console(stderr=True)
Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yield `items` under a progress bar; with no terminal, only a first line is shown."""
    if not CONSOLE.is_terminal:
        CONSOLE.print(f"{description} …", highlight=False, markup=False)
        yield from items
        return
    yield from rich_track(items, description, total=total, console=CONSOLE, transient=True)
