"""The colour of a place on a surface in Dr.Jit, by the formulas that `Scene` documents."""

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi

from offline.rendering.rasterizer.lighting import NEAREST_LAMP, SHININESS

__all__ = ["Surface"]

_TINY = 1e-30  # keeps the direction to a lamp finite where it lies on the surface


@dataclass(frozen=True)
class Surface:
    """The arrays of `Inputs` and `Topology` in Dr.Jit, and what they look like."""

    arrays: dict[str, Any]
    """Flat arrays by the names of `Inputs`."""
    faces: Any
    edges: Any
    opposite: Any
    """As in `Topology`."""
    pictures: tuple[Any, Any, Any] | None
    """uv, tile and tiles; None where nothing is painted."""
    painted: int
    """Number of faces that `tile` knows."""
    lamps: int
    background: tuple[int, int]
    texture: tuple[int, int]
    half: tuple[float, float]
    """Half the view's height and width at depth 1."""

    def shade(self, face: Any, uv: Any, active: Any) -> Any:
        """Return the RGB of the place of barycentric coordinates `uv` on a face."""
        corner = dr.gather(mi.Vector3u, self.faces, face, active)
        weights = (1 - uv.x - uv.y, uv.x, uv.y)
        place, normal = mi.Vector3f(0), mi.Vector3f(0)
        for number in range(3):
            place += weights[number] * self._rows("places", corner[number], active)
            normal += weights[number] * self._rows("normals", 3 * face + number, active)
        offset = self._vector("eye") - place
        distance = dr.norm(offset)
        view = offset / distance
        normal = dr.normalize(normal)

        base = self._rows("base", face, active)
        if self.pictures is not None:
            base *= self._picture(self.pictures, face, weights, active)
        gloss = dr.gather(mi.Float, self.arrays["gloss"], face, active)
        colour = base * self._environment(normal)
        lights = [(self._vector("light"), self._vector("light", 3))]
        for number in range(self.lamps):
            towards = self._vector("lamps", 6 * number) - place
            squared = dr.squared_norm(towards)
            strength = self._vector("lamps", 6 * number + 3)
            strength /= dr.maximum(squared, NEAREST_LAMP**2)
            lights.append((towards * dr.rsqrt(dr.maximum(squared, _TINY)), strength))
        for towards, strength in lights:
            facing = dr.maximum(dr.dot(normal, towards), 0)
            mirror = dr.maximum(dr.dot(normal, dr.normalize(towards + view)), 0)
            for _ in range(int(SHININESS).bit_length() - 1):  # it is a power of 2
                mirror *= mirror
            colour += strength * (base * facing + dr.select(facing > 0, gloss * mirror, 0))
        kept = dr.exp(-self._vector("fog").x * distance)
        return mi.Color3f(colour * kept + self._vector("fog", 1) * (1 - kept))

    def across(self, face: Any, uv: Any) -> tuple[Any, Any, Any]:
        """Return of a place on an edge: the other face, `uv` on it, and its far corner on screen.

        An edge of one face alone, or of more than two, has the same face as its other.
        """
        corner = dr.select(uv.y == 0, mi.UInt32(0), dr.select(uv.x == 0, mi.UInt32(2), 1))
        along = dr.select(corner == 0, uv.x, dr.select(corner == 1, uv.y, 1 - uv.y))
        half = dr.gather(mi.UInt32, self.opposite, 3 * face + corner)
        other, first = half // 3, half % 3
        begin = dr.gather(mi.UInt32, self.faces, 3 * face + corner)
        along = dr.select(dr.gather(mi.UInt32, self.faces, half) == begin, along, 1 - along)
        place = dr.select(
            first == 0,
            mi.Point2f(along, 0),
            dr.select(first == 1, mi.Point2f(1 - along, along), mi.Point2f(0, 1 - along)),
        )
        last = dr.gather(mi.UInt32, self.faces, 3 * other + (first + 2) % 3)
        return other, place, mi.Point3f(self._rows("screen", last, True))

    def backdrop(self, ray: Any) -> Any:
        """Return the RGB of the background's pixel that a ray goes through."""
        rows, columns = self.background
        x = (ray.d.x / (-ray.d.z * self.half[1]) + 1) * (columns / 2)
        y = (1 - ray.d.y / (-ray.d.z * self.half[0])) * (rows / 2)
        column = mi.UInt32(dr.clip(x, 0, columns - 1))
        row = mi.UInt32(dr.clip(y, 0, rows - 1))
        number, plane = row * columns + column, rows * columns
        values = self.arrays["background"]
        return mi.Color3f([dr.gather(mi.Float, values, number + plane * c) for c in range(3)])

    def _environment(self, n: Any) -> Any:
        """Return Σ L · Y(n) over the real spherical harmonics of the first three bands."""
        x, y, z = n
        harmonics = (
            0.28209479, 0.48860251 * y, 0.48860251 * z, 0.48860251 * x,
            1.09254843 * x * y, 1.09254843 * y * z, 0.31539157 * (3 * z * z - 1),
            1.09254843 * x * z, 0.54627422 * (x * x - y * y),
        )  # fmt: skip
        terms = [harmonics[i] * self._vector("environment", 3 * i) for i in range(9)]
        return sum(terms[1:], terms[0])

    def _picture(self, pictures: tuple[Any, Any, Any], face: Any, weights: Any, active: Any) -> Any:
        """Return the bilinear colour of the face's picture; 1 where it has none."""
        uv, tile, tiles = pictures
        active = active & (face < self.painted)
        number = dr.gather(mi.Int32, tile, face, active)
        active &= number >= 0
        top, left, rows, columns = dr.gather(mi.Vector4i, tiles, mi.UInt32(number), active)
        rows, columns = dr.maximum(rows, 1), dr.maximum(columns, 1)
        places = [dr.gather(mi.Vector2f, uv, 3 * face + i, active) for i in range(3)]
        place = sum(w * p for w, p in zip(weights, places, strict=True))
        x, y = place.x * columns - 0.5, (1 - place.y) * rows - 0.5
        column, row = dr.floor(x), dr.floor(y)
        along, down = x - column, y - row
        colour = mi.Color3f(0)
        for step_y, part_y in ((0, 1 - down), (1, down)):
            for step_x, part_x in ((0, 1 - along), (1, along)):
                r = _repeated(mi.Int32(row) + step_y, rows) + top
                c = _repeated(mi.Int32(column) + step_x, columns) + left
                texel = mi.UInt32(r * self.texture[1] + c)
                plane = self.texture[0] * self.texture[1]
                values = self.arrays["texture"]
                colour += (
                    part_y
                    * part_x
                    * mi.Color3f(
                        [dr.gather(mi.Float, values, texel + plane * i, active) for i in range(3)]
                    )
                )
        return dr.select(active, colour, 1)

    def _rows(self, name: str, row: Any, active: Any) -> Any:
        return dr.gather(mi.Vector3f, self.arrays[name], row, active)

    def _vector(self, name: str, start: int = 0) -> Any:
        values = self.arrays[name]
        return mi.Vector3f([dr.gather(mi.Float, values, mi.UInt32(start + i)) for i in range(3)])


def _repeated(number: Any, count: Any) -> Any:
    return number - count * mi.Int32(dr.floor(mi.Float(number) / mi.Float(count)))
