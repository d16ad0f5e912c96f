"""Meshes that people made, seen from all around: what loads, what is warned of, what is in view.

    python -m tests.benchmarks.mesh_views --meshes DIR [--z-up NAME …] [--size 64]
        [--sheet FILE.png] [--save FILE]

DIR holds CLASS/NAME.obj (or .glb, …). Each mesh is rendered from 24 viewpoints, eight around at
three heights; `--z-up` names those, without their suffix, whose z axis is up. `undocumented` lists
warnings other than those that `load_mesh` documents; a mesh that does not load, or a view without
it, ends the run. `--sheet` draws every mesh, and an object of each procedural class, into one
picture.
"""

import json
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from guard.errors import CornerguardError
from guard.progress import track
from guard.storage import write_json
from offline.rendering import MeshSettings, MeshWarning, Rasterizer, Scene, load_mesh, single
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.meshes.shapenet import class_folder
from tests.benchmarks.contact_sheet import contact_sheet
from tests.benchmarks.provenance import provenance

__all__ = ["around", "benchmark"]

AROUND, HEIGHTS = 8, (-0.3, 0.25, 0.9)


def main(
    meshes: Annotated[Path, typer.Option(exists=True, file_okay=False)],
    size: Annotated[int, typer.Option(min=16)] = 64,
    z_up: list[str] = [],  # noqa: B006 - typer copies it
    sheet: Path | None = None,
    save: Path | None = None,
) -> None:
    """Run the benchmark, print its figures, and write them to `save`."""
    classes = class_folder(meshes)
    files = {
        path: MeshSettings(up="z" if path.stem in z_up else "y")
        for paths in classes.values()
        for path in paths
    }
    found = benchmark(files, size)
    if sheet is not None:
        contact_sheet(files).save(sheet, optimize=True)
    whole = {**provenance(), **found}
    if save is not None:
        write_json(save, whole)
    print(json.dumps(whole, allow_nan=False))


def benchmark(files: Mapping[Path, MeshSettings], size: int) -> dict[str, Any]:
    """Load every file and render it from all around."""
    renderer = Rasterizer(size, size)
    coverage, seconds, faces = [], [], []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for path, settings in track(files.items(), f"{len(files)} meshes", len(files)):
            begin = time.perf_counter()
            mesh = load_mesh(path, settings)
            seconds.append(time.perf_counter() - begin)
            scene = around(mesh)
            coverage.append(float(renderer.coverage(scene).min()))
            if not coverage[-1] or not renderer.render(scene).isfinite().all():
                raise CornerguardError(f"{path}: a view that shows nothing, or is not finite")
            faces.append(len(mesh.faces))
    return {
        "meshes": len(files),
        "views": len(files) * AROUND * len(HEIGHTS),
        "faces_most": max(faces),
        "warnings": sum(issubclass(each.category, MeshWarning) for each in caught),
        "undocumented": [
            str(each.message) for each in caught if not issubclass(each.category, MeshWarning)
        ],
        "coverage_least": min(coverage),
        "load_seconds_most": max(seconds),
    }


def around(mesh: Mesh) -> Scene:
    """Return the scenes of a mesh from its 24 viewpoints."""
    scene = single([mesh] * (AROUND * len(HEIGHTS)))
    azimuth = torch.arange(AROUND) * (2 * torch.pi / AROUND)
    camera = scene.camera.clone()
    camera[:, 1:3] = torch.cartesian_prod(azimuth, torch.tensor(HEIGHTS))
    return scene.replace(camera=camera)


if __name__ == "__main__":
    typer.run(main)
