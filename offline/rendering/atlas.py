"""One picture that holds all pictures of a scene, so that scenes can share a tensor."""

from collections.abc import Sequence
from math import isqrt

import torch
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["pack"]


def pack(
    pictures: Sequence[Sequence[Tensor]],
) -> tuple[Float[Tensor, "3 rows columns"], Int64[Tensor, "tile 4"], list[list[int]]]:
    """Lay the pictures [3, h, w] of several meshes on shelves, the highest first; equal ones once.

    Returns:
        The whole; first row, first column, rows and columns of each tile; and for each mesh the
        tile of each of its pictures.
    """
    tiles: list[Tensor] = []
    numbers = [[_number(picture, tiles) for picture in row] for row in pictures]
    if not tiles:
        return torch.zeros(3, 0, 0), torch.zeros(0, 4, dtype=torch.int64), numbers
    area = sum(tile[0].numel() for tile in tiles)
    width = max(isqrt(area), *(tile.shape[2] for tile in tiles))
    corners = {}
    top = left = height = 0
    for tile in sorted(range(len(tiles)), key=lambda n: -tiles[n].shape[1]):
        rows, columns = tiles[tile].shape[1:]
        if left + columns > width:
            top, left, height = top + height, 0, 0
        corners[tile] = (top, left, rows, columns)
        left, height = left + columns, max(height, rows)
    places = [corners[tile] for tile in range(len(tiles))]
    whole = tiles[0].new_zeros(3, top + height, max(first + w for _, first, _, w in places))
    for picture, (row, column, rows, columns) in zip(tiles, places, strict=True):
        whole[:, row : row + rows, column : column + columns] = picture
    return whole, torch.tensor(places), numbers


def _number(picture: Tensor, tiles: list[Tensor]) -> int:
    for number, known in enumerate(tiles):
        if known is picture or (known.shape == picture.shape and torch.equal(known, picture)):
            return number
    tiles.append(picture)
    return len(tiles) - 1
