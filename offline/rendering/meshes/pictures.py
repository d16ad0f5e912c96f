"""What files say of colour: materials, pictures and vertex colours, as arrays per face."""

from typing import Any, NamedTuple

import numpy as np
import trimesh
from jaxtyping import Float, Int64
from PIL import Image

__all__ = ["Paint", "Pictures", "paint"]

SMALL = 1024
"""A picture of no more texels is a palette, whose colours must not run into one another."""
ENLARGED = 8


class Paint(NamedTuple):
    """The colour of the faces of one part of a file, as in `Mesh`."""

    colours: Float[np.ndarray, "face 3"]
    uv: Float[np.ndarray, "face 3 2"]
    tile: Int64[np.ndarray, " face"]


class Pictures:
    """The pictures of one file, each once.

    Attributes:
        arrays: float32 [3, rows, columns] in [0, 1], values as stored; alpha is left out.
        notes: what was done to them that their author did not do.
    """

    def __init__(self, texels: int) -> None:
        self.arrays: list[np.ndarray] = []
        self.notes: list[str] = []
        self._texels = texels
        self._known: dict[int, tuple[Image.Image, int]] = {}  # the image keeps its id from reuse

    def add(self, image: Image.Image) -> int:
        """Return the number of a picture in `arrays`; -1 where it does not decode.

        One whose longer side is above `texels` is reduced to that. One of at most 1024 texels is
        enlarged eightfold by repetition: bilinear lookup then blends palettes at borders alone.
        """
        if id(image) not in self._known:
            self._known[id(image)] = (image, self._decoded(image))
        return self._known[id(image)][1]

    def _decoded(self, image: Image.Image) -> int:
        name, size = image.info.get("file_path", "a picture"), image.size
        image.draft("RGB", (self._texels, self._texels))  # lets a JPEG decode to less
        try:
            # Pillow warns of palettes with transparency, unless they become RGBA first.
            picture = image.convert("RGBA").convert("RGB")
        except (OSError, SyntaxError, ValueError) as error:
            self.notes.append(f"{name} does not decode ({error}), its material's colour is used")
            return -1
        if max(size) > self._texels:
            picture.thumbnail((self._texels, self._texels))
            what = f"{name} of {size[0]} x {size[1]} texels is reduced"
            self.notes.append(f"{what} to {picture.width} x {picture.height}")
        values = np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) / 255
        if size[0] * size[1] <= SMALL:
            values = values.repeat(ENLARGED, axis=1).repeat(ENLARGED, axis=2)
        same = (i for i, known in enumerate(self.arrays) if np.array_equal(known, values))
        number = next(same, len(self.arrays))
        if number == len(self.arrays):
            self.arrays.append(np.ascontiguousarray(values))
        return number


def paint(part: trimesh.Trimesh, pictures: Pictures) -> Paint:
    """Return the colours of a part; its picture, if it has one, is added to `pictures`.

    A colour is the product of the material's and the mean over the face of the vertices'. Opacity
    is left out: every surface is opaque.
    """
    visual: Any = part.visual  # colours, or a material with or without a picture, by `kind`
    count = len(part.faces)
    nothing = Paint(np.ones((count, 3)), np.zeros((count, 3, 2)), np.full(count, -1))
    if visual.kind != "texture":
        return nothing._replace(colours=_fractions(visual.face_colors))
    image = _picture(visual.material)
    colours = np.broadcast_to(_base_colour(visual.material, image), (count, 3))
    by_vertex = visual.vertex_attributes.get("color")
    if by_vertex is not None:
        colours = colours * _fractions(by_vertex)[part.faces].mean(axis=1)
    number = -1 if image is None or visual.uv is None else pictures.add(image)
    if number == -1:
        return nothing._replace(colours=colours)
    return Paint(colours, np.asarray(visual.uv)[part.faces], np.full(count, number))


def _picture(material: Any) -> Image.Image | None:
    image = getattr(material, "image", None) or getattr(material, "baseColorTexture", None)
    return image if isinstance(image, Image.Image) else None


def _base_colour(material: Any, image: Image.Image | None) -> np.ndarray:
    """Return what the file says, else white for glTF and under pictures, else trimesh's grey."""
    if isinstance(material, trimesh.visual.material.PBRMaterial):
        said = material.baseColorFactor is not None
    else:
        said = image is None or "kd" in getattr(material, "kwargs", {})
    return _fractions(material.main_color) if said else np.ones(3)


def _fractions(colours: Any) -> np.ndarray:
    """Return RGB in [0, 1] of RGB or RGBA, in [0, 1] or in whole numbers to 255 or 65,535."""
    colours = np.asarray(colours)[..., :3]
    most = np.iinfo(colours.dtype).max if np.issubdtype(colours.dtype, np.integer) else 1
    fractions: np.ndarray = (colours.astype(np.float64) / most).clip(0, 1)
    return fractions
