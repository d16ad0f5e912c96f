"""The command `check`: a verdict for each image, by a bundle here or by a server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from guard.errors import BadInput

if TYPE_CHECKING:
    from guard.serving.verdict import Verdict

__all__ = ["app"]

app = typer.Typer()
VERDICT_STYLES = {"VALID": "green", "CORNER_CASE": "red", "UNVERIFIED": "yellow"}
PRECISION = "float32"
SERVER = "With --server"


@app.command(
    epilog="Examples: cornerguard check runs/demo/bundle photo.jpg"
    "    cornerguard check --server guard.example:8001 --ca ca.pem photo.jpg"
)
def check(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[BUNDLE] IMAGE…", help="A guard bundle, left out with --server; JPEGs, PNGs."
        ),
    ],
    threshold: Annotated[float | None, typer.Option(help="Instead of the calibrated one.")] = None,
    public_key: Annotated[
        Path | None,
        typer.Option(metavar="PEM", help="Refuse a bundle not signed with this one's key."),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(metavar="TYPE", help="Which graph of the bundle: float32, float16, int8, …"),
    ] = PRECISION,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    server: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Ask a server; no bundle is needed.")
    ] = None,
    model: Annotated[
        str, typer.Option(help=f"{SERVER}: which of its models, if it has several.")
    ] = "",
    timeout: Annotated[
        float | None,
        typer.Option(min=0.001, help=f"{SERVER}: seconds for an image, with all retries; 10."),
    ] = None,
    tls: Annotated[
        bool, typer.Option("--tls", help=f"{SERVER}: encrypt; trust the system's authorities.")
    ] = False,
    ca: Annotated[
        Path | None, typer.Option(metavar="PEM", help=f"{SERVER}: encrypt; trust these.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="PEM", help=f"{SERVER}: our own, for mutual TLS.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="PEM", help=f"{SERVER}: the certificate's key.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"{SERVER}: holds a bearer token.")
    ] = None,
    token_without_tls: Annotated[
        bool, typer.Option("--token-without-tls", help=f"{SERVER} on this machine only.")
    ] = False,
) -> None:
    """Give a verdict for each image: VALID, CORNER_CASE or UNVERIFIED."""
    if server is None:
        given = (model, timeout, tls, ca, certificate, key, token_file, token_without_tls)
        if any(given):
            raise BadInput("check: model, timeout, TLS and token are options of --server HOST:PORT")
        if len(paths) < 2:
            raise BadInput("check: a BUNDLE and at least one IMAGE are wanted, or --server")
        from guard.serving.local import check_files

        bundle, *images = paths
        _show(check_files(bundle, images, threshold, public_key, precision), as_json)
        return
    if public_key is not None or precision != PRECISION:
        raise BadInput("check: --public-key and --precision are the server's own with --server")
    from guard.calling.client import SECONDS
    from guard.client import Credentials, GuardClient

    credentials = Credentials(tls, ca, certificate, key, token_file, token_without_tls)
    with GuardClient(server, model, credentials) as client:
        verdicts = client.check_many(paths, threshold, timeout or SECONDS)
        _show(zip(paths, verdicts, strict=True), as_json)


def _show(answers: "Iterator[tuple[Path, Verdict]]", as_json: bool) -> None:
    table = Table("image", "verdict", "class", "confidence", "score", "p-value")
    for path, verdict in answers:
        if as_json:
            typer.echo(json.dumps({"image": str(path), **verdict.to_json()}))
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
