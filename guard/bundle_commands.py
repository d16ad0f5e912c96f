"""The commands that look at a bundle: `verify`, `inspect`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from guard.bundle import load_bundle
from guard.bundle_files import SIGNATURE_NAME, by_folder
from guard.toolchain import toolchain

__all__ = ["BundleFolder", "PublicKey", "app"]

app = typer.Typer()

BundleFolder = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="The folder of a guard bundle.")
]
PublicKey = Annotated[
    Path | None,
    typer.Option(metavar="PEM", help="Refuse a bundle that was not signed with this one's key."),
]


@app.command(epilog="Example: cornerguard verify runs/demo/bundle --public-key release.pem")
def verify(bundle: BundleFolder, public_key: PublicKey = None) -> None:
    """Check that every file of a bundle is what was sealed, and with a key, that it was signed."""
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
    inspection = toolchain("export.inspection")
    found = inspection.inspect_bundle(bundle, public_key, size, measure=measure)
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        Console().print(*toolchain("export.inspection_tables").tables(found), sep="\n")
