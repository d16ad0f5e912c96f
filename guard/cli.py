"""The command `cornerguard`. Stages of the toolchain are imported only when one is called."""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from guard.errors import BadInput, CornerguardError
from guard.progress import CONSOLE

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
BundleFolder = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="The folder of a guard bundle.")
]
Precision = Annotated[
    str, typer.Option(metavar="TYPE", help="Which graph of the bundle: float32, float16, int8, …")
]
INTERRUPTED = 130
VERDICT_STYLES = {"VALID": "green", "CORNER_CASE": "red", "UNVERIFIED": "yellow"}


def _stage_command(name: str, text: str) -> None:
    """Add a command that runs a recipe up to and with the stage `name`."""

    def command(recipe: RecipeName, overrides: Overrides = None, runs: Runs = Path("runs")) -> None:
        pipeline = _toolchain("offline.pipeline")
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
    pipeline = _toolchain("offline.pipeline")
    pipeline.run_recipe(recipe, tuple(overrides or ()), runs)


_stage_command("counterexamples", "Find semantic counterexamples of the trained model.")
_stage_command("harden", "Harden the model by adversarial training (SPAT).")
_stage_command("fit", "Fit Deep Validation: one-class SVMs per layer and class.")
_stage_command("evaluate", "Measure accuracy, robustness and the detection of corner cases.")
_stage_command("export", "Write the guard bundle: model and detector as one graph.")


@app.command()
def demo(runs: Runs = Path("runs")) -> None:
    """Show the whole job on rendered objects, in minutes: from training to verdicts over gRPC."""
    _toolchain("offline.demo").run_demo(runs)


@app.command(epilog="Example: cornerguard check runs/demo/bundle photo.jpg")
def check(
    bundle: BundleFolder,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="JPEG or PNG files.")],
    threshold: Annotated[float | None, typer.Option(help="Instead of the calibrated one.")] = None,
    precision: Precision = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Give a verdict for each image: VALID, CORNER_CASE or UNVERIFIED."""
    from guard.serving.local import check_images

    table = Table("image", "verdict", "class", "confidence", "score", "p-value")
    for path, verdict in check_images(bundle, images, threshold, precision):
        if as_json:
            sys.stdout.write(json.dumps({"image": str(path), **verdict.to_json()}) + "\n")
            continue
        style = VERDICT_STYLES[verdict.verdict]
        figures = (verdict.confidence, verdict.score, verdict.p_value)
        table.add_row(
            escape(str(path)),
            f"[{style}]{verdict.verdict}[/{style}]",
            escape(verdict.class_name),
            *(f"{figure:.4g}" for figure in figures),
        )
    if not as_json:
        Console().print(table)


@app.command(epilog="Example: cornerguard serve runs/demo/bundle --grpc-port 8001")
def serve(
    bundle: BundleFolder,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="0 takes a free one.")] = None,
    http_port: Annotated[
        int | None, typer.Option(help="Metrics and probes; 0 takes a free one.")
    ] = None,
) -> None:
    """Serve a bundle over gRPC, with metrics and probes over HTTP, until SIGTERM."""
    from guard.serving.config import ServeSettings
    from guard.serving.server import serve as serve_bundle
    from guard.settings import load_settings, parse_settings

    flags = {"host": host, "grpc_port": grpc_port, "http_port": http_port}
    overrides = tuple(f"{key}={value}" for key, value in flags.items() if value is not None)
    if config is None:
        settings = parse_settings("", "the command line", ServeSettings, overrides)
    else:
        settings = load_settings(config, ServeSettings, overrides)
    serve_bundle(bundle, settings)


def main() -> None:
    """Run the command; an error that a user can cause is one line, and the exit code its kind."""
    try:
        app()
    except CornerguardError as error:
        CONSOLE.print(f"[red]error:[/red] {escape(' '.join(str(error).split()))}", soft_wrap=True)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            CONSOLE.print("interrupted; the same command goes on where this one stopped")
        raise


def _toolchain(module: str) -> Any:
    # OpenMP threads that wait by spinning starve each other on machines of few or shared cores:
    # rendering was seen to slow down fivefold. It is read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in {"offline", "export", "guard"}:
            raise
        raise BadInput(
            f"this command needs the whole toolchain ({error.name} is missing): "
            "pip install 'cornerguard[offline]'"
        ) from None
