"""Gradients of renderers against central finite differences, and against one another.

    python -m tests.benchmarks.gradients [--scenes 4] [--size 64] [--faces 1000] [--rays 8]
        [--save FILE]

Matt scenes (`tests.benchmarks.rendered_scenes`), silhouettes included. What is differentiated are
smooth functionals of the image, Σ image · f with f drawn from coarse noise, so that the noise of
Monte Carlo renderers averages out over the pixels; they take `rays` along each side of a pixel.
Gradients are compared along directions: each number of a group by itself, and for vertices random
waves of the surface.

`fd` are central differences, in float64, of the rasterizer's own image, by steps of half a pixel:
shorter ones see the jumps of its samples. `fd_fine` are those of its image of 8 x 8 samples, by
shorter steps: what the gradient should be. For each group: `cosine` and `relative_error` (the
distance of the two vectors over the norm of the other's) over scenes, functionals and directions;
`cosine_fd_min` and so on are the least over the groups. The steps of the differences, and waves
rather than independent moves of vertices, were chosen by scenes of seeds 100 to 103, where steps of
0.005 and independent moves gave cosines of 0.96 to 0.97 for pose and vertices, and so was the
rasterizer's default of 3 x 3 samples, as 2 x 2 gave 0.991 for pose; the scenes here are of other
seeds.
"""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor
from torch.nn.functional import cosine_similarity, interpolate

from guard.storage import write_json
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.renderer import Renderer
from offline.rendering.scene import Scene
from tests.benchmarks.provenance import provenance
from tests.benchmarks.rendered_scenes import GROUPS, matt_scenes
from tests.benchmarks.renderers import installed, step

__all__ = ["agreement", "finite_differences", "slopes"]

FIRST_SEED = 500
FUNCTIONALS = 2
MOVES = 12  # of the vertices
STEP, FINE_STEP, FINE_SAMPLES = 0.02, 0.004, 8
AT_ONCE = 8  # scenes that finite differences render together
Slopes = dict[str, Tensor]


def main(
    scenes: Annotated[int, typer.Option(min=1)] = 4,
    size: Annotated[int, typer.Option(min=16)] = 64,
    faces: Annotated[int, typer.Option(min=8)] = 1000,
    rays: Annotated[int, typer.Option(min=1)] = 8,
    save: Path | None = None,
) -> None:
    """Run the benchmark, print its figures, and write them to `save`."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    makes, absent = installed(rays, matt_scenes(1, 100, seed=0).to(device))
    renderers = {name: make(size, size) for name, make in makes.items()}
    found: dict[str, list[Slopes]] = {name: [] for name in (*renderers, "fd", "fd_fine")}
    for seed in range(scenes):
        scene = matt_scenes(1, faces, seed=FIRST_SEED + seed).to(device)
        generator = torch.Generator().manual_seed(FIRST_SEED + seed)
        functionals = _smooth(size, generator).to(device)
        moves = _moves(scene, generator)
        for name, renderer in renderers.items():
            found[name].append(slopes(renderer, scene, functionals, moves))
        own, fine = Rasterizer(size, size), Rasterizer(size, size, FINE_SAMPLES)
        for name, finite, step_size in (("fd", own, STEP), ("fd_fine", fine, FINE_STEP)):
            found[name].append(finite_differences(finite, scene, functionals, moves, step_size))
    joined = {
        name: {group: torch.cat([each[group] for each in parts]) for group in GROUPS}
        for name, parts in found.items()
    }
    ours = joined.pop("rasterizer")
    against = {name: agreement(ours, theirs) for name, theirs in joined.items()}
    whole = {
        **provenance(),
        "device": device,
        "rays_along_a_side": {name: rays for name in renderers if name != "rasterizer"},
        "absent": absent,
        "scenes": scenes,
        "against": against,
        **{
            f"cosine_{name}_min": min(figures["cosine"] for figures in groups.values())
            for name, groups in against.items()
        },
    }
    if save is not None:
        write_json(save, whole)
    print(json.dumps(whole, allow_nan=False))


def slopes(renderer: Renderer, scene: Scene, functionals: Tensor, moves: Slopes) -> Slopes:
    """Return the gradient of each functional `[f, 3, h, w]` along each move, flat, by group."""
    gradients = [step(renderer, scene, functional[None]) for functional in functionals]
    return {
        group: torch.cat([each[group].double().flatten() @ move.flatten(1).T for each in gradients])
        for group, move in moves.items()
    }


@torch.no_grad()
def finite_differences(
    renderer: Renderer, scene: Scene, functionals: Tensor, moves: Slopes, step_size: float
) -> Slopes:
    """Return the same by central differences, in float64."""
    scene, functionals = scene.double(), functionals.double()
    found = {}
    for group, move in moves.items():
        value = scene.parameters()[group]
        ends = []
        for sign in (1, -1):
            values = (value + sign * step_size * move).split(AT_ONCE)
            moved = (scene[[0] * len(v)].replace(**{group: v}) for v in values)
            images = torch.cat([renderer.render(each) for each in moved])
            ends.append(torch.einsum("bchw,kchw->kb", images, functionals))
        found[group] = ((ends[0] - ends[1]) / (2 * step_size)).flatten()
    return found


def agreement(ours: Slopes, theirs: Slopes) -> dict[str, dict[str, float]]:
    """Return `cosine` and `relative_error` by group."""
    return {
        group: {
            "cosine": round(float(cosine_similarity(mine, theirs[group], dim=0)), 5),
            "relative_error": round(float((mine - theirs[group]).norm() / theirs[group].norm()), 5),
        }
        for group, mine in ours.items()
    }


def _smooth(size: int, generator: torch.Generator) -> Tensor:
    coarse = torch.randn(FUNCTIONALS, 3, 5, 5, generator=generator)
    return interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True)


def _moves(scene: Scene, generator: torch.Generator) -> Slopes:
    """Return directions `[move, …]` of each group, in float64."""
    found = {}
    for group in GROUPS:
        shape, count = scene.parameters()[group].shape[1:], scene.parameters()[group][0].numel()
        if group == "vertices":
            ways = 2 * torch.randn(MOVES, 3, 3, generator=generator)
            flat = (scene.points[0].cpu() @ ways).sin().flatten(1).double()
        else:
            flat = torch.eye(count, dtype=torch.float64)
        found[group] = flat.view(-1, *shape).to(scene.points.device)
    return found


if __name__ == "__main__":
    typer.run(main)
