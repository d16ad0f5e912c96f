"""The whole job on rendered objects, down to verdicts from a server: `make demo`."""

import http.client
import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from PIL import Image
from rich.table import Table
from torch import Tensor

from guard.client import GuardClient
from guard.errors import CornerguardError, FellShort
from guard.progress import CONSOLE, track
from offline.corner_cases import find_corner_cases, seed_images
from offline.models import build_model, load_weights
from offline.pipeline import run_recipe
from offline.recipe import load_recipe
from offline.sources import open_rendered
from offline.stages import Run

__all__ = ["Samples", "run_demo", "serve_and_ask"]

SENT = 100
SERVED_FLOORS = {"clean_images_valid": 0.85, "corner_cases_flagged": 0.6}
PATIENCE = 10.0


class Samples(NamedTuple):
    """Images to send: clean ones, and natural corner cases that the released model gets wrong."""

    clean: Float[Tensor, "n c h w"]
    corner_cases: Float[Tensor, "m c h w"]


class Server(NamedTuple):
    """Where a server listens."""

    grpc: str
    http: str


def run_demo(runs: Path) -> None:
    """Run the recipe `demo`, serve its bundle, ask for verdicts, and print every figure.

    The last line on the standard output is one JSON object.

    Raises:
        FellShort: a figure is below its floor.
    """
    folder = runs / "demo"
    summary: dict[str, Any] = {"served": {}}
    try:
        summary["figures"] = run_recipe("demo", (), runs)
        summary["served"] = serve_and_ask(folder, _samples(folder))
        _print_served(summary["served"])
        short = [name for name, figure in summary["served"].items() if figure["holds"] is False]
        if short:
            raise FellShort(f"demo: below the floor: {', '.join(short)}")
    finally:
        summary["seconds"] = Run(folder).seconds()
        figures = folder / "report" / "figures.json"
        if "figures" not in summary and figures.exists():
            summary["figures"] = json.loads(figures.read_text())["figures"]
        summary["report"] = str(folder / "report" / "index.html")
        sys.stdout.write(json.dumps(summary) + "\n")


def _samples(folder: Path) -> Samples:
    """Search corner cases as the evaluation did; keep what the released model gets wrong."""
    recipe, _ = load_recipe("demo")
    if recipe.data.rendered is None:
        raise CornerguardError("the recipe of the demo no longer renders its data")
    settings = recipe.data
    data = open_rendered(folder / "data", recipe.data.rendered, settings.calibration, recipe.seed)
    model = build_model(recipe.model, recipe.arguments, recipe.normalise)
    released = "harden" if recipe.harden else "train"
    load_weights(model, folder / released / "model.safetensors")
    seeds = seed_images(model.eval(), data.test, recipe.corner_cases.seeds, recipe.seed)
    kept = find_corner_cases(model, seeds, recipe.corner_cases).kept
    wrong = torch.cat([cases.images[cases.succeeded] for cases in kept])
    generator = torch.Generator().manual_seed(recipe.seed)
    return Samples(
        clean=data.test.fetch(torch.randperm(len(data.test), generator=generator)[:SENT]),
        corner_cases=wrong[torch.randperm(len(wrong), generator=generator)[:SENT]],
    )


def serve_and_ask(folder: Path, samples: Samples) -> dict[str, Any]:
    """Return what share of each kind got the verdict that it should, over gRPC."""
    shares = {}
    wanted = {"clean_images_valid": "VALID", "corner_cases_flagged": "CORNER_CASE"}
    with _server(folder / "bundle") as server, GuardClient(server.grpc) as client:
        seen: Counter[str] = Counter()
        for (name, verdict), images in zip(wanted.items(), samples, strict=True):
            encoded = [_png(image) for image in images]
            asked = track(encoded, f"Asking {server.grpc}: {name}", len(encoded))
            verdicts: Counter[str] = Counter(client.check(image).verdict for image in asked)
            seen += verdicts
            share, floor = verdicts[verdict] / len(images), SERVED_FLOORS[name]
            shares[name] = {"after": share, "floor": floor, "holds": share >= floor}
        counted = _scrape(server.http)
    if counted != seen:
        raise CornerguardError(f"/metrics counts {dict(counted)}, the client saw {dict(seen)}")
    return shares


@contextmanager
def _server(bundle: Path) -> Iterator[Server]:
    """Run `cornerguard serve` as a process of its own; it must stop by itself when asked to."""
    command = [
        sys.executable,
        "-m",
        "guard",
        "serve",
        str(bundle),
        "--grpc-port",
        "0",
        "--http-port",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise CornerguardError(f"the server ended with exit code {process.wait()}")
            where = json.loads(line)
            yield Server(where["grpc"], where["http"])
        finally:
            process.terminate()
            code = process.wait(timeout=PATIENCE)
    if code:
        raise CornerguardError(f"the server ended with exit code {code}")


def _scrape(address: str) -> Counter[str]:
    """Return how many images got each verdict, by the server's own count."""
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    counted: Counter[str] = Counter()
    for line in page.splitlines():
        if line.startswith("cornerguard_images_total{"):
            labels, value = line.rsplit(" ", 1)
            counted[labels.split('verdict="')[1].split('"')[0]] += int(float(value))
    return +counted


def _png(image: Float[Tensor, "c h w"]) -> bytes:
    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _print_served(served: dict[str, Any]) -> None:
    table = Table(
        "verdicts over gRPC", "share", "floor", "verdict", title="Served", title_justify="left"
    )
    for name, figure in served.items():
        verdict = "[green]✓ met[/green]" if figure["holds"] else "[bold red]✗ missed[/bold red]"
        cells = (f"{figure['after']:.1%}", f"≥ {figure['floor']:.1%}", verdict)
        table.add_row(name.replace("_", " "), *cells)
    CONSOLE.print(table)
