"""One picture of many objects: meshes from files, and an object of each procedural class."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from offline.rendering import Mesh, MeshWarning, Rasterizer, load_mesh, single
from offline.rendering.composing import uniform_environment
from offline.rendering.procedural import CLASSES, procedural_mesh

__all__ = ["contact_sheet"]

COLUMNS, SIDE, GAP, MARGIN, LABEL, TITLE = 6, 196, 8, 24, 24, 44
PAPER, CARD, INK, FAINT = (255, 255, 255), (238, 240, 243), (32, 36, 42), (110, 118, 128)


def contact_sheet(classes: Mapping[str, Sequence[Path]]) -> Image.Image:
    """Draw the files of each class, then the procedural classes, with their names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MeshWarning)
        files = [(f"{name} · {path.stem}", load_mesh(path))
                 for name, paths in classes.items() for path in paths]  # fmt: skip
    made = [(name, procedural_mesh(name, torch.Generator().manual_seed(11))) for name in CLASSES]
    sections = [(f"{len(files)} meshes from files", files),
                (f"{len(made)} procedural classes", made)]  # fmt: skip
    rows = [-(-len(objects) // COLUMNS) for _, objects in sections]
    cell = SIDE + LABEL + GAP
    width = 2 * MARGIN + COLUMNS * (SIDE + GAP) - GAP
    height = 2 * MARGIN + len(sections) * TITLE + sum(rows) * cell - GAP
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
        top += count * cell
    return sheet


def _tile(mesh: Mesh) -> Image.Image:
    scene = single([mesh], camera=(3.4, 0.72, 0.34, 0.62), light=(0.1, 1.0, 0.75, 0.75))
    sky = uniform_environment(torch.full((1, 3), 0.42))
    scene = scene.replace(environment=sky, background=torch.tensor(CARD).view(1, 3, 1, 1) / 255)
    pixels: Tensor = Rasterizer(SIDE, SIDE, samples=4).render(scene)[0]
    values = (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(values.permute(1, 2, 0).numpy())
