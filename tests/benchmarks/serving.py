"""What serving costs beside inference, and beside MLServer.

    python -m tests.benchmarks.serving [--only NAME] [--rounds 5] [--seconds 5] [--requests 100000]
        [--config FILE] [--environment FOLDER] [--workers 1] [--save FILE]

Two guarded networks (`tests.benchmarks.served_models`), one image a request as raw FP32 over
loopback. Three processes take turns, and share the machine's cores with the load generator
(`tests.benchmarks.load`): `cornerguard serve` with its own settings, unless `--config` names
others; MLServer with the same graph in ONNX Runtime, the same threads, adaptive batching on, in an
environment of its own, which is made in `--environment` unless there; and a direct loop over the
graph (`tests.benchmarks.direct_loop`), one image at a time and in batches as large as the server's
mean batch at 16 clients. In each round each of them is measured once, servers at 1, 16 and 64
clients; figures are medians over the rounds, with the lowest and the highest.

- `cpu_ratio_direct_NAME`: CPU time of the server's processes for an image, at 16 clients, over that
  of the direct loop, whichever of its two batches is cheaper. Those at 1 and 64 clients stand
  below;
- `throughput_ratio_mlserver_cN`, `p50_ratio_mlserver_c1`: of the CIFAR network. On ResNet-18, where
  inference is nearly all of the time, they stand below;
- `added_p99_ms_at_50`: requests arrive as a Poisson process at half the rate that 64 clients
  reached; the 99th percentile of their latency, from when they were due, minus the median of the
  direct loop's for one image. Waiting for those that arrived before is part of it. Of the CIFAR
  network;
- `memory_growth`: of the server's processes (proportional set sizes), over so many requests to the
  CIFAR network after a twentieth as many, as a share;
- `start_up_s`: from the start of the process until the CIFAR network is ready.
"""

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from guard.progress import track
from guard.storage import write_json
from tests.benchmarks.generator import Generator, direct, generating
from tests.benchmarks.provenance import provenance
from tests.benchmarks.served_models import ModelName, ServedModel, make_served_model
from tests.benchmarks.servers import BATCHING, cornerguard, mlserver, mlserver_environment

__all__ = ["ratios", "summary"]

MODELS: tuple[ModelName, ...] = ("resnet18", "cifar")
CLIENTS = (1, 16, 64)
STARTS = 3
ENVIRONMENT = Path.home() / ".cache/cornerguard/mlserver"
Figures = dict[str, Any]


def main(
    only: str | None = None,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    seconds: Annotated[float, typer.Option(min=1)] = 5.0,
    requests: Annotated[int, typer.Option(min=1000, help="Over which memory may grow.")] = 100_000,
    config: Annotated[Path | None, typer.Option(help="Settings of cornerguard's server.")] = None,
    environment: Annotated[Path, typer.Option(help="MLServer's.")] = ENVIRONMENT,
    workers: Annotated[int, typer.Option(min=0, help="Processes that infer in MLServer.")] = 1,
    save: Path | None = None,
) -> None:
    """Run the benchmark, print its figures, and write them to `save`."""
    if only is not None and only not in MODELS:
        raise typer.BadParameter(f"{only}: one of {', '.join(MODELS)}")
    threads = os.cpu_count() or 1
    versions = mlserver_environment(environment)
    found: dict[str, Figures] = {}
    for kind in MODELS:
        if only not in (None, kind):
            continue
        with TemporaryDirectory() as name:
            folder = Path(name)
            model = make_served_model(kind, folder)
            (settings := folder / "mlserver").mkdir()
            with (
                cornerguard(model.bundle, config) as our_server,
                mlserver(model, environment, threads, workers, settings) as their_server,
                generating(our_server, model) as ours,
                generating(their_server, model) as theirs,
            ):
                measured = [
                    _round(model, ours, theirs, threads, seconds, seed)
                    for seed in track(range(rounds), f"Measuring {kind}", rounds)
                ]
                found[kind] = _gathered(measured)
                if kind == "cifar":
                    found[kind]["memory"] = _memory(ours, requests)
            starts = []
            for _ in range(STARTS):
                with cornerguard(model.bundle, config) as started:
                    starts.append(started.start_up)
            found[kind]["start_up_s"] = spread(starts)
    whole = {
        **provenance(),
        "onnxruntime": version("onnxruntime-gpu"),
        "tritonclient": version("tritonclient"),
        "mlserver": {**versions, **BATCHING, "parallel_workers": workers},
        "threads": threads,
        **summary(found),
        "models": found,
    }
    if save is not None:
        write_json(save, whole)
    print(json.dumps(whole, allow_nan=False))


def summary(models: Mapping[str, Figures]) -> Figures:
    """Return what stands on top, of the networks that were measured."""
    top = {
        f"cpu_ratio_direct_{name}": figures["ratios"]["cpu_direct_c16"]["median"]
        for name, figures in models.items()
    }
    if cifar := models.get("cifar"):
        names = ("throughput_mlserver_c16", "throughput_mlserver_c64", "p50_mlserver_c1")
        for name in names:
            what, peer, clients = name.split("_")
            top[f"{what}_ratio_{peer}_{clients}"] = cifar["ratios"][name]["median"]
        top["added_p99_ms_at_50"] = cifar["ratios"]["added_p99_ms_at_50"]["median"]
        top["memory_growth"] = cifar["memory"]["growth"]
        top["start_up_s"] = cifar["start_up_s"]["median"]
    return top


def ratios(measured: Mapping[str, Figures]) -> dict[str, float]:
    """Return what one round's figures come to, each by the name of what was measured."""
    cpu = min(figures["cpu_ms"] for name, figures in measured.items() if name.startswith("direct"))
    found = {}
    for clients in CLIENTS:
        ours, theirs = measured[f"cornerguard_c{clients}"], measured[f"mlserver_c{clients}"]
        found[f"cpu_direct_c{clients}"] = ours["cpu_ms"] / cpu
        found[f"throughput_mlserver_c{clients}"] = ours["per_s"] / theirs["per_s"]
        found[f"p50_mlserver_c{clients}"] = ours["p50"] / theirs["p50"]
    bare = measured["direct_b1"]["p50"]
    return found | {"added_p99_ms_at_50": measured["cornerguard_at_50"]["p99"] - bare}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median, the lowest and the highest, to four digits."""
    found = {"median": statistics.median(values), "low": min(values), "high": max(values)}
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def _round(
    model: ServedModel,
    ours: Generator,
    theirs: Generator,
    threads: int,
    seconds: float,
    seed: int,
) -> dict[str, Figures]:
    found: dict[str, Figures] = {}
    for clients in CLIENTS:
        for name, generator in (("cornerguard", ours), ("mlserver", theirs)):
            found[f"{name}_c{clients}"] = generator.measure(clients=clients, seconds=seconds)
    for batch in {1, round(found["cornerguard_c16"]["mean_batch"])}:
        name = "direct_b1" if batch == 1 else "direct_mean_batch"
        found[name] = direct(model, batch, threads, seconds)
    half = found["cornerguard_c64"]["per_s"] / 2
    found["cornerguard_at_50"] = ours.measure(rate=half, seconds=2 * seconds, seed=seed)
    return found


def _gathered(measured: Sequence[Mapping[str, Figures]]) -> Figures:
    """Return the spread over the rounds, of the ratios and of every figure."""
    each = [ratios(one) for one in measured]
    figures: Figures = {
        "ratios": {name: spread([one[name] for one in each]) for name in each[0]},
    }
    for name in sorted({name for one in measured for name in one}):
        rounds = [one[name] for one in measured if name in one]
        kept = [key for key, value in rounds[0].items() if isinstance(value, int | float)]
        figures[name] = {key: spread([one[key] for one in rounds]) for key in kept}
    return figures


def _memory(generator: Generator, requests: int) -> Figures:
    generator.measure(clients=max(CLIENTS), requests=requests // 20)
    before = generator.server.tree.memory_bytes()
    generator.measure(clients=max(CLIENTS), requests=requests)
    after = generator.server.tree.memory_bytes()
    growth = round(after / before - 1, 4)
    return {"requests": requests, "before": before, "after": after, "growth": growth}


if __name__ == "__main__":
    typer.run(main)
