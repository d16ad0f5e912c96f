"""Small OBJ files, and pictures to put on them."""

from pathlib import Path

import numpy as np
from PIL import Image

SQUARE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\n"
CORNERS = "vt 0 0\nvt 1 0\nvt 0 1\nvt 1 1\n"
PAINTED = f"mtllib m.mtl\n{SQUARE}{CORNERS}usemtl a\nf 1/1 2/2 3/3\nf 2/2 4/4 3/3\n"


def obj(folder: Path, text: str, materials: str = "newmtl a\nKd 1 1 1\n") -> Path:
    (folder / "m.mtl").write_text(materials)
    path = folder / "m.obj"
    path.write_text(text)
    return path


def image(path: Path, rows: int = 40, columns: int = 60) -> np.ndarray:
    """Write a picture of random colours, more than a palette has; return its values."""
    path.parent.mkdir(exist_ok=True)
    values = np.random.default_rng(0).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return values.transpose(2, 0, 1) / np.float32(255)
