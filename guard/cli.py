"""The command `cornerguard`, and its commands that work on a recipe."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from guard import (
    bundle_commands,
    check_command,
    render_command,
    renderer_commands,
    serving_commands,
)
from guard.errors import CornerguardError
from guard.progress import CONSOLE
from guard.toolchain import toolchain

__all__ = ["app", "main"]

app = typer.Typer(
    name="cornerguard",
    help="Find how an image model fails, harden it, ship it with a validator in the same graph.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

RecipeName = Annotated[
    str,
    typer.Argument(metavar="RECIPE", help="A YAML file, or a shipped recipe's name: mnist, demo."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a key: --set data=PATH --set fit.nu=0.05"
    ),
]
Runs = Annotated[Path, typer.Option(metavar="DIR", help="Where runs lie; this one in DIR/NAME.")]
INTERRUPTED = 130


def _stage_command(name: str, text: str) -> None:
    """Add a command that runs a recipe up to and with the stage `name`."""

    def command(recipe: RecipeName, overrides: Overrides = None, runs: Runs = Path("runs")) -> None:
        pipeline = toolchain("offline.pipeline")
        pipeline.run_recipe(recipe, tuple(overrides or ()), runs, until=name)

    command.__doc__ = text
    app.command(name)(command)


@app.command(
    epilog="Example: cornerguard run recipes/mnist.yaml --set data=../data/mnist"
    "  (a recipe that comes with cornerguard is found by its name)"
)
def run(recipe: RecipeName, overrides: Overrides = None, runs: Runs = Path("runs")) -> None:
    """Run every stage of a recipe; finished ones are reused.

    Trains or loads the model, finds counterexamples, hardens, fits, evaluates, writes the report
    and exports the bundle. Exits with 1 if a figure is below the recipe's floor.
    """
    pipeline = toolchain("offline.pipeline")
    pipeline.run_recipe(recipe, tuple(overrides or ()), runs)


@app.command()
def counterexamples(
    recipe: RecipeName,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    resume: Annotated[
        bool,
        typer.Option(help="Keep what an earlier, interrupted search has found; or begin anew."),
    ] = True,
) -> None:
    """Find semantic counterexamples of the trained model.

    They are written to runs/NAME/counterexamples as shards, tar files that WebDataset reads, each
    whole or not there: an interrupted search goes on after the last of them.
    """
    pipeline = toolchain("offline.pipeline")
    anew = () if resume else ("counterexamples",)
    pipeline.run_recipe(recipe, tuple(overrides or ()), runs, until="counterexamples", anew=anew)


_stage_command("harden", "Harden the model by adversarial training (SPAT).")
_stage_command("fit", "Fit Deep Validation: one-class SVMs per layer and class.")
_stage_command("evaluate", "Measure accuracy, robustness and the detection of corner cases.")
_stage_command("export", "Write the guard bundle: model and detector as one graph.")


@app.command()
def demo(runs: Runs = Path("runs")) -> None:
    """Show the whole job on rendered objects, in minutes: from training to verdicts over gRPC."""
    toolchain("offline.demo").run_demo(runs)


app.add_typer(render_command.app)
app.add_typer(check_command.app)
app.add_typer(bundle_commands.app)
app.add_typer(serving_commands.app)
app.add_typer(renderer_commands.app)


def main() -> None:
    """Run the command; an error that a user can cause is one line, and the exit code its kind."""
    try:
        app()
    except CornerguardError as error:
        CONSOLE.print(f"[red]error:[/red] {escape(' '.join(str(error).split()))}", soft_wrap=True)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            CONSOLE.print(
                "interrupted; what works on a recipe goes on where it stopped, all else begins anew"
            )
        raise
