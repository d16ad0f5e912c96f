"""How fast renderers are, forward and backward, with gradients of all that scenes are made of.

    python -m tests.benchmarks.rendering [--only SIZE_FACES_BATCH] [--rounds 5] [--save FILE]

Matt scenes (`tests.benchmarks.rendered_scenes`); a step renders a batch and returns the gradients
of a functional of it by pose, translation, scale, vertices, colour, light and camera. In each round
every renderer takes its turn, in alternating order, after a warm-up; figures are medians and
quartiles over rounds. A renderer that is not installed is named in `absent`.

Equal noise: `error` is the RMS difference, at 128² and 5,000 faces, from the image of 16 x 16
samples a pixel, with borders by analytic coverage. The Monte Carlo renderers get the fewest rays,
that come as near as the rasterizer: up to 10 along each side of a pixel for Mitsuba, up to 6 for
redner, which is then compared in its favour. `rasterizer_1` is the rasterizer of one sample a
pixel; ratios are of the one of 3 x 3, which is its default. The Monte Carlo
renderers draw the scenes of a batch one after the other: they are timed on its first one, in cells
of 16.

`growth` is the exponent by which the time of an image grows with faces, and with pixels.
On a GPU the batch of the rasterizer goes up to 256.
"""

import json
import math
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from guard.storage import write_json
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.scene import Scene
from tests.benchmarks.peak_memory import peak_mb
from tests.benchmarks.provenance import provenance
from tests.benchmarks.rendered_scenes import matt_scenes
from tests.benchmarks.renderers import Make, installed, step

__all__ = ["cells", "chosen_rays", "errors", "growth", "measure", "ratio"]

SIZES, FACES, BATCHES, GPU_BATCHES = (64, 128, 224), (1000, 5000, 20000), (1, 16), (1, 16, 64, 256)
MIDDLE = (128, 5000, 16)
RAYS = (1, 2, 3, 4, 6, 8, 9, 10)
MONTE_CARLO = {"redner": 6, "mitsuba": 10}
"""The most rays along each side of a pixel; redner would take half a minute an image beyond."""
Cell = tuple[int, int, int]


def main(
    only: str | None = None,
    rounds: Annotated[int, typer.Option(min=2)] = 5,
    save: Path | None = None,
) -> None:
    """Run the benchmark, print its figures, and write them to `save`."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    wanted = cells(GPU_BATCHES if device == "cuda" else BATCHES, only)
    scene = matt_scenes(1, MIDDLE[1], seed=7).to(device)
    makes, found = chosen_rays(scene, MIDDLE[0], RAYS)
    times: dict[str, dict[Cell, list[float]]] = {name: {} for name in makes}
    memory: dict[str, dict[Cell, float]] = {name: {} for name in makes}
    for cell in wanted:
        taking_part = {
            name: make for name, make in makes.items() if cell[2] == 16 or name not in MONTE_CARLO
        }
        for name, (seconds, peak) in measure(taking_part, cell, rounds, device).items():
            times[name][cell], memory[name][cell] = seconds, peak
    figures = {
        name: {_name(cell): _figures(times[name][cell], memory[name][cell]) for cell in each}
        for name, each in times.items()
    }
    whole = {
        **provenance(),
        "device": device,
        **found,
        "images_per_second": figures,
        "growth": {name: growth(each) for name, each in times.items()},
        **{
            f"ratio_to_{name}_128_5k": ratio(times["rasterizer"][MIDDLE], times[name][MIDDLE])
            for name in MONTE_CARLO
            if MIDDLE in times.get(name, {})
        },
    }
    if save is not None:
        write_json(save, whole)
    print(json.dumps(whole, allow_nan=False))


def cells(batches: tuple[int, ...], only: str | None) -> list[Cell]:
    """Return (side of the image, faces, batch) of all cells, or of the one that is named."""
    every = [(size, faces, batch) for size in SIZES for faces in FACES for batch in batches]
    named = {_name(cell): cell for cell in every}
    if only is not None and only not in named:
        raise typer.BadParameter(f"{only}: one of {', '.join(named)}")
    return every if only is None else [named[only]]


def chosen_rays(
    scene: Scene, size: int, candidates: tuple[int, ...]
) -> tuple[dict[str, Make], dict[str, Any]]:
    """Return the renderers, the Monte Carlo ones with the rays that equal noise asks for.

    And, for the record: who is absent, the rays chosen, and the errors at all candidates.
    """
    makes: dict[str, Make] = {
        "rasterizer": lambda h, w: Rasterizer(h, w),
        "rasterizer_1": lambda h, w: Rasterizer(h, w, 1),
    }
    wanted = errors(makes, scene, size)
    found: dict[str, dict[str, float]] = {name: {} for name in MONTE_CARLO}
    rays: dict[str, int] = {}
    absent: dict[str, str] = {}
    for count in candidates:
        others, absent = installed(count, scene)
        open_cases = {
            name: make for name, make in others.items()
            if count <= MONTE_CARLO.get(name, 0)
            and (name not in rays or found[name][str(rays[name])] > wanted["rasterizer"])
        }  # fmt: skip
        for name, error in errors(open_cases, scene, size).items():
            found[name][str(count)] = error
            makes[name], rays[name] = others[name], count
    record: dict[str, Any] = {**wanted, **{name: each for name, each in found.items() if each}}
    return makes, {"absent": absent, "rays_along_a_side": rays, "error": record}


def errors(makes: Mapping[str, Make], scene: Scene, size: int) -> dict[str, float]:
    """Return each renderer's RMS difference from the rasterizer's image of 16 x 16 samples."""
    with torch.no_grad():
        reference = Rasterizer(size, size, 16).render(scene)
        return {
            name: round(
                float((make(size, size).render(scene) - reference).square().mean()) ** 0.5, 5
            )
            for name, make in makes.items()
        }


def measure(
    makes: Mapping[str, Make], cell: Cell, rounds: int, device: str
) -> dict[str, tuple[list[float], float]]:
    """Return each renderer's seconds an image, by round, and its peak of memory in MB."""
    size, faces, batch = cell
    scene = matt_scenes(batch, faces, seed=0).to(device)
    functional = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(1))
    functional = functional.to(device)

    images = {name: 1 if name in MONTE_CARLO else batch for name in makes}

    def runner(name: str) -> Callable[[], None]:
        renderer, count = makes[name](size, size), images[name]

        def run() -> None:
            step(renderer, scene[:count], functional[:count])
            if device == "cuda":
                torch.cuda.synchronize()

        return run

    runs = {name: runner(name) for name in makes}
    peaks = {name: peak_mb(run) for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds):
        for name in list(runs)[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            runs[name]()
            seconds[name].append((time.perf_counter() - start) / images[name])
    return {name: (seconds[name], peaks[name]) for name in runs}


def growth(times: dict[Cell, list[float]]) -> dict[str, float]:
    """Return the exponents of faces at 128², and of pixels at 5,000 faces, in batches of 16."""
    found = {}
    for name, ends in {
        "faces": [(faces, (128, faces, 16)) for faces in (FACES[0], FACES[-1])],
        "pixels": [(size**2, (size, 5000, 16)) for size in (SIZES[0], SIZES[-1])],
    }.items():
        if all(cell in times for _, cell in ends):
            (low, first), (high, last) = ends
            more = statistics.median(times[last]) / statistics.median(times[first])
            found[name] = round(math.log(more) / math.log(high / low), 3)
    return found


def ratio(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """Return how many times as fast ours is, round by round: the median and the quartiles."""
    each = [their / our for our, their in zip(ours, theirs, strict=True)]
    low, middle, high = statistics.quantiles(each, n=4, method="inclusive")
    return {"ratio": round(middle, 2), "quartiles": [round(low, 2), round(high, 2)]}


def _figures(seconds: list[float], peak: float) -> dict[str, Any]:
    rates = [1 / each for each in seconds]
    low, middle, high = statistics.quantiles(rates, n=4, method="inclusive")
    quartiles = [float(f"{low:.4g}"), float(f"{high:.4g}")]
    return {"median": float(f"{middle:.4g}"), "quartiles": quartiles, "peak_mb": round(peak, 1)}


def _name(cell: Cell) -> str:
    return "_".join(map(str, cell))


if __name__ == "__main__":
    typer.run(main)
