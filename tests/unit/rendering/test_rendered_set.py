"""A rendered data set: equal parts of classes, and scenes that can be drawn again to the bit."""

from pathlib import Path

import pytest
import torch

from guard.errors import CornerguardError
from offline.rendering.procedural import CLASSES
from offline.rendering.rendered_set import RenderedImages, RenderSettings, render_set
from offline.rendering.sampling import SceneRanges

SETTINGS = RenderSettings(size=16, train=72, test=12)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> RenderedImages:
    folder = tmp_path_factory.mktemp("set")
    render_set(folder, 72, SETTINGS, seed=4)
    return RenderedImages(folder, SETTINGS, seed=4)


def test_classes_come_in_equal_parts_and_random_order(images: RenderedImages) -> None:
    assert images.classes == CLASSES
    assert images.labels.bincount().tolist() == [6] * len(CLASSES)
    assert not images.labels.equal(images.labels.sort().values)


def test_scenes_drawn_again_are_those_of_the_images(images: RenderedImages) -> None:
    # Out of order, across chunks, and one of them twice.
    indices = torch.tensor([70, 3, 61, 3, 0, 59, 60])
    rendered = SETTINGS.renderer().render(images.scenes(indices))
    again = (rendered.clamp(0, 1) * 255).round().to(torch.uint8)
    assert again.equal(images.pixels[indices])


def test_another_seed_gives_other_images(images: RenderedImages, tmp_path: Path) -> None:
    render_set(tmp_path, 12, SETTINGS, seed=5)
    assert not RenderedImages(tmp_path, SETTINGS, seed=5).pixels.equal(images.pixels[:12])


def test_an_object_out_of_its_image_is_refused(tmp_path: Path) -> None:
    far = RenderSettings(size=16, train=12, test=12, ranges=SceneRanges(shift=400.0))
    with pytest.raises(CornerguardError, match="outside its image"):
        render_set(tmp_path, 12, far, seed=0)
