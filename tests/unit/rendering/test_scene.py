"""Scenes: kept in files bit for bit, indexed, joined, changed by name."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from guard.errors import BadInput
from guard.settings import parse_settings
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.sampling import SceneRanges, sample_scenes
from offline.rendering.scene import PARAMETERS, Scene, concatenate
from offline.rendering.scene_files import load_scene, save_scene


def scenes(*labels: int) -> Scene:
    return sample_scenes(torch.tensor(labels), torch.Generator().manual_seed(4), 24)


def test_a_saved_scene_renders_to_the_same_bits(tmp_path: Path) -> None:
    scene = scenes(0, 4, 11)
    save_scene(tmp_path / "scene.safetensors", scene)
    loaded = load_scene(tmp_path / "scene.safetensors")
    renderer = Rasterizer(24, 24)
    assert torch.equal(renderer.render(loaded), renderer.render(scene))
    assert [path.name for path in tmp_path.iterdir()] == ["scene.safetensors"]


@pytest.mark.parametrize(
    "change", ["faces", "missing", "unknown", "damaged", "edges", "size", "kind", "tiles"]
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "scene.safetensors"
    save_scene(path, scenes(0, 4))
    tensors = load_file(path)
    if change in ("faces", "edges"):
        tensors[change][0, 0] = 10_000
    if change == "size":
        tensors["pose"] = torch.zeros(2, 2, 3)  # of an object more than there is
    if change == "kind":
        tensors["faces"] = tensors["faces"].float()
    if change == "tiles":
        tensors["tiles"] = torch.tensor([[[0, 0, 9, 9]]] * 2)  # beyond the texture
    if change == "missing":
        del tensors["pose"]
    if change == "unknown":
        tensors["colours"] = torch.zeros(1)
    save_file(tensors, path)
    if change == "damaged":
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BadInput, match=r"scene\.safetensors"):
        load_scene(path)


def test_indexing_and_joining_keep_the_images() -> None:
    scene = scenes(0, 7, 9, 11)
    renderer = Rasterizer(24, 24)
    images = renderer.render(scene)
    assert len(scene) == 4
    for chosen in (
        [2, 0],
        torch.tensor([2, 0]),
        slice(1, 3),
        torch.tensor([True, False, True, False]),
    ):
        torch.testing.assert_close(
            renderer.render(scene[chosen]), images[chosen], atol=1e-6, rtol=0
        )
    other = scenes(1)
    joined = concatenate([other, scene[1:]])
    wanted = torch.cat((renderer.render(other), images[1:]))
    torch.testing.assert_close(renderer.render(joined), wanted, atol=1e-6, rtol=0)


def test_gradients_flow_through_what_is_joined() -> None:
    one, two = scenes(0), scenes(1, 2)
    vertices = two.vertices.clone().requires_grad_()
    joined = concatenate([one, two.replace(vertices=vertices)]).vertices
    (gradient,) = torch.autograd.grad((2 * joined).sum(), vertices)
    assert (gradient == 2).all()


def test_nothing_is_not_joined() -> None:
    with pytest.raises(BadInput, match="at least one batch"):
        concatenate([])


def test_scenes_of_different_backgrounds_are_not_joined() -> None:
    small = sample_scenes(torch.tensor([0]), torch.Generator(), 8)
    with pytest.raises(BadInput, match="different sizes"):
        concatenate([small, scenes(0)])


def test_parameters_are_named_and_replaced() -> None:
    scene = scenes(3)
    assert tuple(scene.parameters()) == PARAMETERS
    turned = scene.replace(pose=torch.ones(1, 1, 3))
    assert turned.pose.tolist() == [[[1, 1, 1]]]
    assert turned.camera is scene.camera
    with pytest.raises(BadInput, match="did you mean 'pose'"):
        scene.replace(poses=torch.ones(1, 1, 3))
    with pytest.raises(BadInput, match=r"'pose' has shape \(1, 1, 3\)"):
        scene.replace(pose=torch.ones(2, 1, 3))
    with pytest.raises(BadInput, match=r"'background' has shape \(1, 3, 9, 8\)"):
        scene.replace(background=torch.ones(2, 3, 9, 8))


def test_sampling_obeys_its_ranges_and_its_generator() -> None:
    ranges = SceneRanges(azimuth=(10, 20), elevation=(0, 5), scale=(0.5, 0.6), shift=0)
    labels = torch.arange(12)
    scene = sample_scenes(labels, torch.Generator().manual_seed(9), (20, 30), ranges)
    degrees = torch.rad2deg(scene.camera)
    assert scene.background.shape == (12, 3, 20, 30)
    assert ((degrees[:, 1] >= 10) & (degrees[:, 1] <= 20)).all()
    assert ((degrees[:, 2] >= 0) & (degrees[:, 2] <= 5)).all()
    assert ((scene.scale >= 0.5) & (scene.scale <= 0.6)).all()
    assert (scene.translation == 0).all()
    assert (scene.pose == 0).all()
    again = sample_scenes(labels, torch.Generator().manual_seed(9), (20, 30), ranges)
    assert all(torch.equal(a, again.parameters()[k]) for k, a in scene.parameters().items())


def test_a_range_that_runs_backwards_is_refused() -> None:
    with pytest.raises(BadInput, match=r"ranges:1: elevation: a range from low to high is wanted"):
        parse_settings("elevation: [30, 5]", "ranges", SceneRanges)
