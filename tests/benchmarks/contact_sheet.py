"""One picture of many objects: meshes from files, and an object of each procedural class."""

import math
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from offline.rendering import Mesh, MeshSettings, MeshWarning, Rasterizer, load_mesh, single
from offline.rendering.camera import to_camera, to_world
from offline.rendering.composing import uniform_environment
from offline.rendering.procedural import CLASSES, procedural_mesh

__all__ = ["contact_sheet"]

COLUMNS, SIDE, GAP, MARGIN, LABEL, TITLE = 6, 196, 8, 24, 24, 40
FILLED, SEED = 0.88, 3
PAPER, CARD, INK, FAINT = (255, 255, 255), (203, 212, 222), (32, 36, 42), (110, 118, 128)


def contact_sheet(paths: Mapping[Path, MeshSettings]) -> Image.Image:
    """Draw the files, then an object of each procedural class, with their names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MeshWarning)
        files = [(path.stem.replace("_", " "), load_mesh(path, how)) for path, how in paths.items()]
    generator = torch.Generator().manual_seed(SEED)
    made = [(name, procedural_mesh(name, generator)) for name in CLASSES]
    sections = [
        (f"{len(files)} meshes from files", files),
        (f"{len(made)} procedural classes", made),
    ]
    rows = [-(-len(objects) // COLUMNS) for _, objects in sections]
    cell = SIDE + LABEL + GAP
    width = 2 * MARGIN + COLUMNS * (SIDE + GAP) - GAP
    height = 2 * MARGIN + len(sections) * (TITLE + GAP) + sum(rows) * cell - 2 * GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    pen, top = ImageDraw.Draw(sheet), MARGIN
    for (title, objects), count in zip(sections, rows, strict=True):
        pen.text((MARGIN, top), title, INK, ImageFont.load_default(22))
        top += TITLE
        for number, (name, mesh) in enumerate(objects):
            row, column = divmod(number, COLUMNS)
            x, y = MARGIN + column * (SIDE + GAP), top + row * cell
            sheet.paste(_tile(mesh), (x, y))
            pen.text((x + 2, y + SIDE + 3), name, FAINT, ImageFont.load_default(13))
        top += count * cell + GAP
    return sheet


def _tile(mesh: Mesh) -> Image.Image:
    scene = single([mesh], camera=(3.4, 0.72, 0.3, 0.6), light=(0.1, 1.0, 0.75, 0.7), gloss=0.15)
    x, y, z = to_camera(to_world(scene), scene.camera)[0].unbind(1)
    reach = float((torch.stack((x, y)) / z).abs().max())
    camera = scene.camera.clone()
    camera[:, 3] = 2 * math.atan(reach / FILLED)
    scene = scene.replace(
        camera=camera,
        environment=uniform_environment(torch.full((1, 3), 0.45)),
        background=torch.tensor(CARD).view(1, 3, 1, 1) / 255,
    )
    pixels: Tensor = Rasterizer(SIDE, SIDE, samples=3).render(scene)[0]
    values = (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(values.permute(1, 2, 0).numpy())
