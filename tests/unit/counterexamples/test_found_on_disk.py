"""Counterexamples made with the real rasterizer, written, and read again."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from guard.errors import BadInput
from offline.counterexamples import (
    AttackSettings,
    Counterexamples,
    find_counterexamples,
    load_counterexamples,
    save_counterexamples,
)
from offline.rendering.composing import single
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.rasterizer import Rasterizer

SETTINGS = AttackSettings(steps={"pose": 0.15, "translation": 0.05, "vertices": 0.01}, iterations=8)
CORNERS = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
FACES = torch.tensor(
    [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
)


class Fullness(nn.Module):
    """Class 0 where the dark object takes more than some part of the white image."""

    def forward(self, images):
        darkness = 1 - images.mean(dim=(1, 2, 3))
        return torch.stack((40 * (darkness - 0.085), torch.zeros_like(darkness)), dim=1)


@pytest.fixture(scope="module")
def found():
    shape = Mesh("octahedron", CORNERS, FACES, torch.full((8, 3), 0.2))
    scenes = single([shape] * 5)
    pose = torch.linspace(-0.8, 0.8, 15).view(5, 1, 3)
    scale = torch.tensor(
        [[0.8], [0.75], [0.7], [0.65], [0.3]]
    )  # the last is too small from the start
    labels = torch.zeros(5, dtype=torch.int64)
    return find_counterexamples(
        Rasterizer(32, 32), Fullness(), scenes.replace(pose=pose, scale=scale), labels, SETTINGS, 2
    )


def test_the_attack_moves_real_scenes_until_the_model_errs(found):
    assert found.already_wrong.tolist() == [False, False, False, False, True]
    assert found.success.any()
    assert not found.success[4]
    moved = (found.loss[:, -1] > found.loss[:, 0]) | found.already_wrong
    assert moved.all()
    counted = found.after[found.success]
    images = Rasterizer(32, 32).render(counted)
    assert (Fullness()(images).argmax(dim=1) == 1).all()
    stored = found.images_after[found.success].float() / 255
    assert (images - stored).abs().max() <= 0.5 / 255 + 1e-6
    assert (Rasterizer(32, 32).coverage(counted) >= SETTINGS.least_coverage).all()


def test_what_is_written_is_read_again(found, tmp_path):
    save_counterexamples(tmp_path / "found", found)
    again = load_counterexamples(tmp_path / "found")
    for field in dataclasses.fields(Counterexamples):
        one, two = getattr(found, field.name), getattr(again, field.name)
        if field.name in ("before", "after"):
            for name, value in one.parameters().items():
                assert torch.equal(value, two.parameters()[name]), name
        else:
            assert torch.equal(one, two), field.name
    figures = json.loads((tmp_path / "found" / "figures.json").read_text())
    assert figures == found.figures()
    assert sorted(path.suffix for path in (tmp_path / "found").iterdir()) == [
        ".json", ".safetensors", ".safetensors", ".safetensors",
    ]  # fmt: skip


def test_a_damaged_folder_is_refused(found, tmp_path):
    folder = tmp_path / "found"
    save_counterexamples(folder, found)
    path = folder / "arrays.safetensors"
    whole = path.read_bytes()
    # Copies: what safetensors loads is mapped onto the file that is damaged below.
    arrays = {name: value.clone() for name, value in load_file(path).items()}

    path.write_bytes(whole[:100])
    with pytest.raises(BadInput, match=r"arrays\.safetensors: cannot be read"):
        load_counterexamples(folder)
    save_file({name: value for name, value in arrays.items() if name != "success"}, path)
    with pytest.raises(BadInput, match="missing or unknown: success"):
        load_counterexamples(folder)
    save_file({**arrays, "success": arrays["success"][:2].contiguous()}, path)
    with pytest.raises(BadInput, match="arrays of other lengths"):
        load_counterexamples(folder)
    path.unlink()
    with pytest.raises(BadInput, match=r"arrays\.safetensors: cannot be read"):
        load_counterexamples(folder)
