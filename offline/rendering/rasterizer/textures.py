"""Pictures on faces: bilinear lookup in the atlas of a scene, where each repeats in its tile."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from offline.rendering.gathering import rows_of
from offline.rendering.rasterizer.fragments import FacesInSight, Fragments
from offline.rendering.scene import Scene

__all__ = ["face_tiles", "look_up", "picture_colours"]


def picture_colours(
    scene: Scene, seen: Fragments, weights: Float[Tensor, "fragment 3"]
) -> Float[Tensor, "fragment 3"]:
    """Return the RGB of the pictures at the fragments, 1 where a face has none.

    Differentiable in the texels, and in where on its face a fragment lies: its barycentric weights.
    """
    faces, painted = seen.faces, scene.uv.shape[1]
    tile = face_tiles(scene, faces)
    chosen = (tile[seen.slot] >= 0).nonzero()[:, 0]
    slot = seen.slot[chosen]
    row = faces.scene[slot] * painted + faces.number[slot]
    corners = scene.uv.reshape(-1, 3, 2)[row]
    places = (rows_of(chosen, weights)[:, :, None] * corners).sum(1)
    scene_of = faces.scene[slot]
    tiles = scene.tiles.reshape(-1, 4)[scene_of * scene.tiles.shape[1] + tile[slot]]
    colours = look_up(scene.texture, scene_of, tiles, places)
    return torch.ones_like(seen.rays).index_put((chosen,), colours)


def face_tiles(scene: Scene, faces: FacesInSight) -> Int64[Tensor, " seen"]:
    """Return the number of each face's picture within its scene; -1: it has none."""
    painted = scene.tile.shape[1]
    row = faces.scene * painted + faces.number.clamp(max=painted - 1)
    return torch.where(faces.number < painted, scene.tile.reshape(-1)[row], -1)


def look_up(
    atlas: Float[Tensor, "batch 3 rows columns"],
    scene: Int64[Tensor, " place"],
    tiles: Int64[Tensor, "place 4"],
    places: Float[Tensor, "place 2"],
) -> Float[Tensor, "place 3"]:
    """Return the RGB at places (u, v) of pictures, between the centres of the four texels around.

    Args:
        atlas: the pictures of each scene.
        scene: the row of `atlas` that each place is looked up in.
        tiles: the picture of each place: first row, first column, rows, columns.
        places: (0, 0) is the lower left corner of the picture, (1, 1) the upper right one. Beyond
            them the picture repeats; what lies beside it in the atlas is never touched.
    """
    height, width = atlas.shape[2:]
    top, left, rows, columns = tiles.unbind(1)
    y, below, part_y = _neighbours((1 - places[:, 1]) * rows - 0.5, rows)
    x, beside, part_x = _neighbours(places[:, 0] * columns - 0.5, columns)
    first = scene * height + top
    lines = torch.stack((first + y, first + below), dim=1) * width + left[:, None]
    texels = lines[:, :, None] + torch.stack((x, beside), dim=1)[:, None]
    colours = rows_of(texels, atlas.permute(0, 2, 3, 1).reshape(-1, 3))
    over, under = colours.unbind(1)
    across = over + part_y[:, None, None] * (under - over)
    start, end = across.unbind(1)
    return start + part_x[:, None] * (end - start)


def _neighbours(place: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the texels before and after a place on a line of `size` that repeats, and its part."""
    before = place.detach().floor()
    number = before.long()
    return number.remainder(size), (number + 1).remainder(size), place - before
