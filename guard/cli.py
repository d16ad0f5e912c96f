"""The command `cornerguard`. Stages of the toolchain are imported only when one is called."""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from guard import check_command
from guard.errors import BadInput, CornerguardError
from guard.progress import CONSOLE
from guard.settings import Settings, load_settings, parse_settings

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
PublicKey = Annotated[
    Path | None,
    typer.Option(metavar="PEM", help="Refuse a bundle that was not signed with this one's key."),
]
Kind = TypeVar("Kind", bound=Settings)
INTERRUPTED = 130


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


app.add_typer(check_command.app)


@app.command(epilog="Example: cornerguard verify runs/demo/bundle --public-key release.pem")
def verify(bundle: BundleFolder, public_key: PublicKey = None) -> None:
    """Check that every file of a bundle is what was sealed, and with a key, that it was signed."""
    from guard.bundle import load_bundle
    from guard.bundle_files import SIGNATURE_NAME, by_folder

    files = load_bundle(bundle, public_key).manifest.files
    sizes = {name: (bundle / name).stat().st_size for name in files}
    table = Table("file", "bytes", "SHA-256")
    for name, of_these in by_folder(sizes).items():
        said = f"{files[name][:16]}…" if name in files else f"each of {len(of_these)} files"
        table.add_row(escape(name), f"{sum(of_these):,}", said)
    Console().print(table)
    if public_key is not None:
        signed = f"signed with the key of {public_key}"
    elif (bundle / SIGNATURE_NAME).exists():
        signed = "its signature was not verified: no --public-key"
    else:
        signed = "not signed"
    whole = f"{bundle}: whole: {len(files)} files, {sum(sizes.values()):,} bytes; {signed}"
    Console().print(escape(whole), soft_wrap=True, highlight=False)


@app.command(epilog="Example: cornerguard inspect runs/demo/bundle --measure")
def inspect(
    bundle: BundleFolder,
    public_key: PublicKey = None,
    size: Annotated[
        int, typer.Option(min=1, help="Height and width, where the model takes any.")
    ] = 224,
    measure: Annotated[bool, typer.Option(help="Time the graph beside the bare model.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show what a bundle holds and costs: layers, threshold, sizes, operations, parity."""
    inspection = _toolchain("export.inspection")
    found = inspection.inspect_bundle(bundle, public_key, size, measure=measure)
    if as_json:
        sys.stdout.write(found.model_dump_json() + "\n")
    else:
        Console().print(*_toolchain("export.inspection_tables").tables(found), sep="\n")


@app.command(epilog="Example: cornerguard serve runs/demo/bundle --grpc-port 8001")
def serve(
    bundle: BundleFolder,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    name: Annotated[str | None, typer.Option(help="What clients call the model.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="0 takes a free one.")] = None,
    http_port: Annotated[
        int | None, typer.Option(help="Metrics and probes; 0 takes a free one.")
    ] = None,
    public_key: PublicKey = None,
) -> None:
    """Serve a bundle over gRPC, with metrics and probes over HTTP, until SIGTERM."""
    from guard.serving.config import ServeSettings
    from guard.serving.server import serve as serve_bundle

    flags = {
        "host": host,
        "name": name,
        "grpc_port": grpc_port,
        "http_port": http_port,
        "public_key": public_key,
    }
    serve_bundle(bundle, _settings(ServeSettings, flags, config))


@app.command(epilog="Example: cornerguard triton runs/demo/bundle models --device gpu")
def triton(
    bundle: BundleFolder,
    repository: Annotated[Path, typer.Argument(metavar="REPOSITORY", help="The model repository.")],
    name: Annotated[str | None, typer.Option(help="What clients call the model.")] = None,
    max_batch: Annotated[
        int | None, typer.Option(help="0: no batching, and requests may bring a threshold.")
    ] = None,
    preferred_batch: Annotated[
        list[int] | None, typer.Option(help="A batch size not to wait beyond; may be repeated.")
    ] = None,
    queue_delay: Annotated[int | None, typer.Option(help="Microseconds to wait for more.")] = None,
    instances: Annotated[int | None, typer.Option(help="Copies of the model.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or gpu.")] = None,
) -> None:
    """Write a bundle into a Triton model repository: graph, labels and config.pbtxt."""
    from guard.bundle import load_bundle

    toolchain = _toolchain("export.triton")
    flags = {
        "name": name,
        "max_batch_size": max_batch,
        "preferred_batch_sizes": preferred_batch,
        "queue_delay": queue_delay,
        "instances": instances,
        "device": device,
    }
    settings = _settings(toolchain.TritonSettings, flags)
    written = toolchain.write_triton_repository(load_bundle(bundle), repository, settings)
    CONSOLE.print(f"written: {written}", highlight=False, markup=False, soft_wrap=True)


@app.command(
    epilog="Example: cornerguard kserve runs/demo/bundle guard.yaml --name guard "
    "--storage-uri s3://models/guard --image registry.example/cornerguard:1"
)
def kserve(
    bundle: BundleFolder,
    manifest: Annotated[Path, typer.Argument(metavar="FILE", help="The YAML file to write.")],
    name: Annotated[str, typer.Option(help="Of the service and of the model.")],
    storage_uri: Annotated[
        str, typer.Option(help="Where the cluster finds the bundle, or the Triton repository.")
    ],
    image: Annotated[
        str | None, typer.Option(help="Serves the bundle; left out, KServe's Triton does.")
    ] = None,
    namespace: Annotated[str | None, typer.Option(help="Left out: kubectl's own.")] = None,
    cpu: Annotated[str | None, typer.Option(help="As Kubernetes writes it: 1, 500m.")] = None,
    memory: Annotated[str | None, typer.Option(help="As Kubernetes writes it: 2Gi.")] = None,
    gpus: Annotated[int | None, typer.Option(help="NVIDIA GPUs of each replica.")] = None,
    min_replicas: Annotated[int | None, typer.Option(help="0 scales down to none.")] = None,
    max_replicas: Annotated[int | None, typer.Option(help="The most replicas.")] = None,
) -> None:
    """Write a KServe InferenceService for a bundle, to be given to kubectl."""
    from guard.bundle import load_bundle

    toolchain = _toolchain("export.kserve")
    flags = {
        "name": name,
        "storage_uri": storage_uri,
        "image": image,
        "namespace": namespace,
        "cpu": cpu,
        "memory": memory,
        "gpus": gpus,
        "min_replicas": min_replicas,
        "max_replicas": max_replicas,
    }
    settings = _settings(toolchain.KServeSettings, flags)
    toolchain.write_kserve_manifest(load_bundle(bundle), manifest, settings)
    CONSOLE.print(f"written: {manifest}", highlight=False, markup=False, soft_wrap=True)


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


def _settings(kind: type[Kind], flags: dict[str, Any], config: Path | None = None) -> Kind:
    """Read the settings from the file, if there is one, and the flags that were given."""
    given = tuple(
        f"{key}={json.dumps(flag, default=str)}" for key, flag in flags.items() if flag is not None
    )
    if config is None:
        return parse_settings("", "the command line", kind, given)
    return load_settings(config, kind, given)


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
