"""The commands that look after rendering engines: `renderer install`, `renderer list`."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from guard.toolchain import toolchain

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)
renderer = typer.Typer(no_args_is_help=True, help="Install and list the rendering engines.")
app.add_typer(renderer, name="renderer")


class Installable(str, Enum):
    """The engines that `renderer install` can bring."""

    REDNER = "redner"


@renderer.command(epilog="Example: cornerguard renderer install redner")
def install(
    engine: Annotated[Installable, typer.Argument(metavar="ENGINE", help="redner")],
    python: Annotated[
        Path | None, typer.Option(metavar="PATH", help="A Python 3.8; else one is looked for.")
    ] = None,
) -> None:
    """Give an engine an environment of its own, and render an image with it as a check.

    redner has packages for Python 3.8 alone: one on the PATH, or of pyenv, uv or conda, is taken.
    The environment lies in $CORNERGUARD_REDNER, or else in ~/.local/share/cornerguard/redner.
    """
    folder = toolchain("offline.rendering.redner").install(python)
    Console().print(escape(f"{engine.value}: ready in {folder}"), soft_wrap=True, highlight=False)


@renderer.command("list", epilog="Example: cornerguard renderer list")
def list_renderers() -> None:
    """Show which rendering engines are ready, and what is missing for the others."""
    table = Table("renderer", "state")
    for name, lacking in toolchain("offline.rendering.engines").engines().items():
        table.add_row(name, "ready" if lacking is None else escape(lacking))
    Console().print(table)
