"""What lies between a surface and a light, in batched torch: a grid of the light's view.

A light at infinity sees a scene in one frame, by parallel projection; a lamp sees it in the six
frames of a cube around it. Each frame is cut into square cells, and each face is listed in every
cell that its image may touch. All faces between a place and the light are then among those of the
one cell that the place is seen in, and only these are tested, exactly. Nothing has a gradient.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from offline.rendering.rasterizer.visibility import expand, strongest

__all__ = ["GridOccluders"]

_SLACK = 1e-5  # widens the images of faces, so that rounding hides none from its cell
_CELLS = (16, 256)  # least and most along a side of a frame
_COARSER = 4  # so many times fewer in a lamp's frames: they are six, and near faces fill them
_TESTS_AT_ONCE = 1 << 20  # bounds the memory of one pass to some hundred MB


class GridOccluders:
    """Tests places against the faces in their cell; the same bits however places are batched."""

    def __init__(
        self,
        positions: Float[Tensor, "batch vertex 3"],
        faces: Int64[Tensor, "batch face 3"],
        lights: Float[Tensor, "batch light 4"],
    ) -> None:
        """As `occlusion.occluders`."""
        positions, lights = positions.detach(), lights.detach()
        self._lights = lights.reshape(-1, 4)
        self._count = faces.shape[1]
        self._side = min(max(int(self._count**0.5), _CELLS[0]), _CELLS[1])
        self._lamp_side = max(self._side // _COARSER, _CELLS[0])
        self._sun = _parallel_frame(positions, lights[:, 0, :3])
        scene = torch.arange(len(faces), device=faces.device)
        corners = faces.clamp_min(0) + (scene * positions.shape[1])[:, None, None]
        corners = positions.reshape(-1, 3)[corners]
        self._corners = corners.reshape(-1, 3, 3)
        real = faces[:, :, 0] >= 0
        source = scene * lights.shape[1]
        flat = _flat(self._sun[:, None, None], corners)
        parts = [self._listed(flat, real, source * 6, self._side)]
        for light in range(1, lights.shape[1]):
            offset = corners - lights[:, light, None, None, :3]
            for side in range(6):
                image = _cube(offset, faces.new_tensor(side))
                frame = (source + light) * 6 + side
                parts.append(self._listed(image, real, frame, self._lamp_side))
        cells, listed = (torch.cat(each) for each in zip(*parts, strict=True))
        order = cells.argsort(stable=True)
        self._cells, self._faces = cells[order], listed[order]

    def blocking(
        self, source: Int64[Tensor, " place"], places: Float[Tensor, "place 3"]
    ) -> Int64[Tensor, " place"]:
        """As `occlusion.Occluders.blocking`."""
        places = places.detach()
        light = self._lights[source]
        offset = places - light[:, :3]
        axis = offset.abs().argmax(dim=1)
        behind = offset.gather(1, axis[:, None])[:, 0] < 0
        side = torch.where(light[:, 3] == 0, 0, 2 * axis + behind)
        scene = source // (len(self._lights) // len(self._sun))
        flat = _flat(self._sun[scene], places)
        image = torch.where(light[:, 3:] == 0, flat, _cube(offset, side))
        cells = torch.where(light[:, 3:] == 0, self._side, self._lamp_side)
        cell = (image[:, :2] / image[:, 2:] + 1) * (cells / 2)
        column, row = cell.floor().clamp_min(0).minimum(cells - 1).long().unbind(1)
        cell = ((source * 6 + side) * self._side + row) * self._side + column
        start = torch.searchsorted(self._cells, cell)
        counts = torch.searchsorted(self._cells, cell, right=True) - start
        ways = light[:, :3] - light[:, 3:] * places
        reach = torch.where(light[:, 3] == 0, torch.inf, 1)
        group = counts.cumsum(0).div(_TESTS_AT_ONCE, rounding_mode="floor")
        sizes = torch.unique_consecutive(group, return_counts=True)[1].tolist()
        each = zip(*(v.split(sizes) for v in (start, counts, places, ways, reach)), strict=True)
        return torch.cat([start[:0], *(self._nearest(*part) for part in each)])

    def _listed(
        self, image: Tensor, real: Tensor, frame: Tensor, cells: int
    ) -> tuple[Tensor, Tensor]:
        """Return cells, so many along a side, and the faces that may be seen in them."""
        u, v, w = image.unbind(-1)
        edge = w + _SLACK * w.abs()
        out = [(side > edge).all(-1) for side in (u, -u, v, -v)]
        kept = (real & ~torch.stack(out).any(0) & (w > 0).any(-1)).view(-1).nonzero()[:, 0]
        u, v, w = (each.reshape(-1, 3)[kept] for each in (u, v, w))
        # A face that reaches behind the frame may be seen anywhere in it.
        whole = (w <= 0).any(1)
        safe = torch.where(whole[:, None], 1, w)
        ends = []
        for along in (u / safe, v / safe):
            low, high = along.amin(1) - _SLACK, along.amax(1) + _SLACK
            for end in (torch.where(whole, -1, low), torch.where(whole, 1, high)):
                ends.append(((end + 1) * (cells / 2)).floor().clamp(0, cells - 1).long())
        left, right, top, bottom = ends
        columns = right - left + 1
        owner, number = expand(columns * (bottom - top + 1))
        row = top[owner] + number // columns[owner]
        column = left[owner] + number % columns[owner]
        face = kept[owner]
        cell = (frame[face // self._count] * self._side + row) * self._side + column
        return cell, face

    def _nearest(
        self, start: Tensor, counts: Tensor, places: Tensor, ways: Tensor, reach: Tensor
    ) -> Tensor:
        """Return the first face on the way of each place, among those listed in its cell."""
        owner, number = expand(counts)
        face = self._faces[start[owner] + number]
        x, y, z = (self._corners[face] - places[owner, None]).unbind(1)
        way = ways[owner]
        yz = torch.cross(y, z, dim=1)
        parts = (yz, torch.cross(z, x, dim=1), torch.cross(x, y, dim=1))
        weights = torch.stack([(way * part).sum(1) for part in parts], dim=1)
        whole = weights.sum(1)
        inside = ((weights >= 0).all(1) | (weights <= 0).all(1)) & (whole != 0)
        distance = (x * yz).sum(1) / torch.where(whole == 0, 1, whole)
        hit = (inside & (distance > 0) & (distance < reach[owner])).nonzero()[:, 0]
        best = strongest(owner[hit], 1 / distance[hit], len(counts))
        if len(hit) == 0:
            return best
        return torch.where(best < 0, -1, face[hit[best.clamp_min(0)]] % self._count)


def _cube(offset: Tensor, side: Tensor) -> Tensor:
    """Return (u, v, w), seen at (u, v) / w in [-1, 1], of offsets from a lamp in a cube's frame."""
    axis = (side // 2).expand(offset.shape[:-1])[..., None]
    u, v, w = (offset.gather(-1, (axis + k) % 3)[..., 0] for k in (1, 2, 0))
    return torch.stack((u, v, torch.where(side % 2 == 0, w, -w)), dim=-1)


def _flat(frame: Tensor, points: Tensor) -> Tensor:
    """Return the same of points by a parallel projection."""
    seen = (frame[..., :3] * points[..., None, :]).sum(-1) + frame[..., 3]
    return torch.nn.functional.pad(seen, (0, 1), value=1.0)


def _parallel_frame(positions: Tensor, direction: Tensor) -> Tensor:
    """Return [batch, 2, 4], which maps a scene along a direction into the square [-1, 1]."""
    aside = torch.zeros_like(direction).scatter(1, direction.abs().argmin(1, keepdim=True), 1)
    right = torch.nn.functional.normalize(torch.cross(direction, aside, dim=1), dim=1)
    up = torch.nn.functional.normalize(torch.cross(direction, right, dim=1), dim=1)
    axes = torch.stack((right, up), dim=1)
    flat = positions @ axes.mT
    low, high = flat.amin(1), flat.amax(1)
    scale = 2 / (high - low).clamp_min(torch.finfo(flat.dtype).tiny ** 0.5)
    return torch.cat((axes * scale[:, :, None], (-1 - low * scale)[:, :, None]), dim=2)
