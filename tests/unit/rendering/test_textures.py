"""Pictures on faces against `grid_sample`, and images of them."""

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from offline.rendering.composing import single
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.rasterizer.textures import look_up

TILES = torch.tensor([[0, 0, 5, 7], [5, 2, 3, 4], [0, 7, 8, 1]])


def repeated(picture: Tensor, places: Tensor) -> Tensor:
    """Look up by `grid_sample` in a picture that is padded by its own other side."""
    rows, columns = picture.shape[1:]
    whole = pad(picture[None], (1, 1, 1, 1), mode="circular")
    inner = places.remainder(1)
    x = (inner[:, 0] * columns + 1) / (columns + 2) * 2 - 1
    y = ((1 - inner[:, 1]) * rows + 1) / (rows + 2) * 2 - 1
    grid = torch.stack((x, y), dim=1)[None, None]
    return grid_sample(whole, grid, mode="bilinear", align_corners=False)[0, :, 0].T


@pytest.mark.parametrize("tile", range(len(TILES)))
def test_lookup_is_that_of_grid_sample_in_value_and_gradient(
    tile: int, device: torch.device
) -> None:
    generator = torch.Generator().manual_seed(tile)
    atlas = torch.rand(2, 3, 8, 8, generator=generator).double().to(device).requires_grad_()
    places = 4 * torch.rand(200, 2, generator=generator).double() - 2
    places = places.to(device).requires_grad_()
    top, left, rows, columns = TILES[tile].tolist()
    scene = torch.ones(200, dtype=torch.int64, device=device)
    found = look_up(atlas, scene, TILES[tile].to(device).expand(200, 4), places)
    wanted = repeated(atlas[1, :, top : top + rows, left : left + columns], places)
    torch.testing.assert_close(found, wanted)
    factor = torch.rand(200, 3, generator=generator).double().to(device)
    for ours, theirs in zip(
        torch.autograd.grad((found * factor).sum(), (atlas, places)),
        torch.autograd.grad((wanted * factor).sum(), (atlas, places)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("samples", [1, 2])
def test_a_picture_is_seen_the_right_way_up(samples: int, device: torch.device) -> None:
    """A square that fills the image shows its picture texel by pixel, tinted by its colours."""
    corners = torch.tensor([(-1.0, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    mesh = Mesh("sheet", corners, faces, torch.full((2, 3), 0.5))
    # Seen from far away; at distance 1 / tan(f / 2) the square is as large as the image.
    field = 0.4
    distance = 1 / torch.tensor(field / 2).tan().item()
    scene = single([mesh], camera=(distance, 0, 0, field), light=(0, 0, 1, 0), ambient=1)
    picture = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(1))
    uv = torch.tensor([(0.0, 0), (1, 0), (1, 1), (0, 1)])[faces]
    scene = dataclasses.replace(
        scene,
        uv=uv[None],
        tile=torch.tensor([[1, 1]]),
        tiles=torch.tensor([[[0, 0, 4, 2], [0, 2, 8, 8]]]),
        texture=torch.cat((torch.zeros(3, 8, 2), picture), dim=2)[None],
    )
    image = Rasterizer(8, 8, samples=1).render(scene.to(device))[0].cpu()
    torch.testing.assert_close(image[:, 1:-1, 1:-1], 0.5 * picture[:, 1:-1, 1:-1])
    for tile in ([[-1, -1]], [[]]):  # pictures that no face shows
        unused = torch.tensor(tile, dtype=torch.int64)
        plain = dataclasses.replace(scene, tile=unused, uv=scene.uv[:, : unused.shape[1]])
        image = Rasterizer(8, 8, samples).render(plain.to(device))[0].cpu()
        torch.testing.assert_close(image, torch.full((3, 8, 8), 0.5))
