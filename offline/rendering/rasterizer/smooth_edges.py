"""Edges inside a smooth surface: the colour runs on across them, so that they are no borders.

To blend there would move the little that the colour changes within a pixel along with the edge, in
the gradient but not in the image, whose pixels change faces at the same time.
"""

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from offline.rendering.rasterizer.antialias import Crossings
from offline.rendering.rasterizer.fragments import FacesInSight, Fragments
from offline.rendering.rasterizer.normals import corner_groups
from offline.rendering.rasterizer.textures import face_tiles
from offline.rendering.scene import Scene

__all__ = ["without_smooth_edges"]


def without_smooth_edges(
    crossings: Crossings,
    stride: int,
    table: Int64[Tensor, "batch height width"],
    scene: Scene,
    seen: Fragments,
) -> Crossings:
    """Give weight 0 to crossings between faces that look like one surface.

    `stride` leads from the number of a pixel to that of its neighbour, and `table` has the row of
    each pixel in `seen`; -1 where it shows none.
    """
    if not scene.smoothing.shape[1]:
        return crossings
    rows = table.view(-1)
    first, second = rows[crossings.pixel], rows[crossings.pixel + stride]
    both = ((first >= 0) & (second >= 0)).nonzero()[:, 0]
    one = _look_like_one(scene, seen.faces, seen.slot[first[both]], seen.slot[second[both]])
    weight = crossings.weight.clone()
    weight[both[one]] = 0
    return crossings._replace(weight=weight)


def _look_like_one(
    scene: Scene, faces: FacesInSight, first: Tensor, second: Tensor
) -> Bool[Tensor, " pair"]:
    """Tell of pairs of faces whether they share a smooth corner, a colour, and a picture.

    Faces of one corner need not touch along an edge: one too thin to be seen may lie between them.
    """
    groups = corner_groups(scene, faces)
    a, b = groups[first], groups[second]
    shared = ((a[:, :, None] == b[:, None]) & (a[:, :, None] > 0)).any(2).any(1)
    number = faces.scene * scene.faces.shape[1] + faces.number
    looks = scene.face_colours.reshape(-1, 3)[number]
    if scene.tile.shape[1]:
        tile = face_tiles(scene, faces)[:, None]
        looks = torch.cat((looks, tile.to(looks.dtype)), dim=1)
    return shared & (looks[first] == looks[second]).all(1)
