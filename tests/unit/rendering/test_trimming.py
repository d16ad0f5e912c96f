"""Scenes without padding: smaller, and the same image."""

import pytest
import torch

from guard.errors import BadInput
from offline.rendering.alone import images_alone
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.sampling import sample_scenes
from offline.rendering.scene import concatenate
from offline.rendering.trimming import trimmed
from tests.unit.rendering.rich_scenes import rich_scene


def scenes():
    """Return scenes of unlike sizes: one with pictures, lamps and several objects, two without."""
    rich = rich_scene(1)
    size = tuple(rich.background.shape[2:])
    size = (24, 24) if size == (1, 1) else size
    plain = [
        sample_scenes(torch.tensor([label]), torch.Generator().manual_seed(label), size)
        for label in (2, 9)
    ]
    return [rich.replace(background=plain[0].background), *plain], Rasterizer(*size)


def test_a_scene_has_its_own_size_again_whatever_it_was_batched_with():
    each, renderer = scenes()
    batch = concatenate(each)
    for index, alone in enumerate(each):
        (again,), (wanted,) = trimmed(batch[index]), trimmed(alone)
        for name, value in wanted.tensors().items():
            assert torch.equal(getattr(again, name), value), name
        assert again.points.shape[1] <= alone.points.shape[1]
        image, padded = (renderer.render(scene) for scene in (again, batch[index]))
        torch.testing.assert_close(image, padded, atol=1e-5, rtol=0)


def test_an_image_is_the_same_bits_in_any_batch():
    each, renderer = scenes()
    alone = torch.cat([images_alone(renderer, scene) for scene in each])
    assert torch.equal(images_alone(renderer, concatenate(each)), alone)
    assert torch.equal(images_alone(renderer, concatenate(each[::-1])), alone.flip(0))


def test_versions_are_cut_alike():
    (_, plain, _), _ = scenes()
    batch = concatenate([plain, rich_scene(1).replace(background=plain.background)])
    dark = batch[0]
    lit = dark.replace(lamps=dark.lamps + 1)
    before, after = trimmed(dark, lit)
    assert before.lamps.shape == after.lamps.shape == dark.lamps.shape
    assert trimmed(dark)[0].lamps.shape[1] == 0
    with pytest.raises(BadInput, match="versions of one scene"):
        trimmed(dark, batch[1])
