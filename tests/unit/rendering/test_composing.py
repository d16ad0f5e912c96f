"""From meshes to scenes: pictures in one atlas, smoothing groups and pictures numbered anew."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from guard.errors import BadInput
from offline.rendering.atlas import pack
from offline.rendering.composing import compose, single
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.scene import Scene

VERTICES = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
FACES = torch.tensor([[0, 1, 2], [2, 1, 3]])
PLAIN = Mesh("plain", VERTICES, FACES, torch.ones(2, 3))


def picture(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.rand(3, rows, columns, generator=torch.Generator().manual_seed(seed))


def painted(*pictures: Tensor, tile: tuple[int, ...], smoothing: Tensor | None = None) -> Mesh:
    uv = torch.arange(len(tile) * 6.0).view(-1, 3, 2)
    groups = {} if smoothing is None else {"smoothing": smoothing}
    return replace(PLAIN, uv=uv, tile=torch.tensor(tile), pictures=pictures, **groups)


def shown(scene: Scene, row: int, face: int) -> Tensor:
    """Return the picture that a face shows, cut out of the atlas."""
    top, left, rows, columns = scene.tiles[row, scene.tile[row, face]].tolist()
    return scene.texture[row, :, top : top + rows, left : left + columns]


def test_every_picture_is_whole_in_the_atlas_and_equal_ones_are_there_once() -> None:
    sizes = [(5, 9), (3, 2), (8, 8), (1, 30), (3, 2)]
    pictures = [picture(*size, seed=number) for number, size in enumerate(sizes)]
    atlas, tiles, numbers = pack([pictures[:3], [], [pictures[3], pictures[1].clone()], pictures])
    assert numbers == [[0, 1, 2], [], [3, 1], [0, 1, 2, 3, 4]]
    used = torch.zeros(atlas.shape[1:])
    for (top, left, rows, columns), wanted in zip(tiles.tolist(), pictures, strict=True):
        assert atlas[:, top : top + rows, left : left + columns].equal(wanted)
        used[top : top + rows, left : left + columns] += 1
    assert used.max() == 1  # no picture lies on another
    assert used.sum() == 45 + 6 + 64 + 30 + 6


def test_an_atlas_of_equal_squares_wastes_nothing() -> None:
    assert pack([[picture(16, 16, seed=seed) for seed in range(16)]])[0].shape == (3, 64, 64)


def test_objects_of_a_scene_keep_their_pictures_and_corners() -> None:
    red, blue = picture(4, 4, seed=1), picture(6, 3, seed=2)
    one, two = painted(red, blue, tile=(1, 0)), painted(blue, tile=(0,))
    scene = compose([[one, PLAIN, two]])
    assert scene.tile.shape == (1, 5)  # the faces up to the last that shows a picture
    assert scene.tile[0, 2:4].tolist() == [-1, -1]
    assert scene.tiles.shape == (1, 2, 4)
    for face, wanted in ((0, blue), (1, red), (4, blue)):
        assert shown(scene, 0, face).equal(wanted)
    assert scene.uv[0, :2].equal(one.uv)
    assert scene.uv[0, 4:].equal(two.uv)


def test_smoothing_groups_of_objects_stay_apart() -> None:
    groups = torch.tensor([[0, 1, 2], [2, 1, -1]])
    smooth = replace(PLAIN, smoothing=groups)
    flat_tail = replace(PLAIN, smoothing=torch.tensor([[0, 0, -1], [-1, -1, -1]]))
    scene = compose([[smooth, PLAIN, flat_tail]])
    wanted = [[0, 1, 2], [2, 1, -1], *[[-1] * 3] * 2, [3, 3, -1]]
    assert scene.smoothing.tolist() == [wanted]


def test_scenes_of_a_batch_are_padded() -> None:
    rich = painted(picture(4, 4), tile=(0, 0), smoothing=torch.tensor([[0, 0, 0]]))
    small = painted(picture(2, 2, seed=1), tile=(0,))
    scene = single([PLAIN, rich, small])
    assert scene.tile.tolist() == [[-1, -1], [0, 0], [0, -1]]
    assert scene.tiles.tolist() == [[[-1] * 4], [[0, 0, 4, 4]], [[0, 0, 2, 2]]]
    assert scene.smoothing.tolist() == [[[-1] * 3], [[0] * 3], [[-1] * 3]]
    assert scene.texture.shape == (3, 3, 4, 4)
    assert shown(scene, 2, 0).equal(picture(2, 2, seed=1))


def test_scenes_without_pictures_carry_none() -> None:
    scene = single([PLAIN, PLAIN])
    assert scene.texture.numel() == scene.uv.numel() == scene.tile.numel() == 0
    assert scene.smoothing.shape == (2, 0, 3)


@pytest.mark.parametrize(
    ("objects", "classes", "message"),
    [
        ([], None, "wants at least one mesh"),
        ([[PLAIN], []], None, "wants at least one mesh"),
        ([[PLAIN]], [[0, 1]], "one class for each mesh"),
    ],
)
def test_a_scene_of_nothing_is_refused(objects, classes, message) -> None:
    with pytest.raises(BadInput, match=message):
        compose(objects, classes)
