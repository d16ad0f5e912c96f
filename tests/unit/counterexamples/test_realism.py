"""Realism: FID against scipy's and torchmetrics' closed form, ρ, and what is not measured."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from scipy.linalg import sqrtm
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from guard.errors import BadInput
from offline.counterexamples import binary_membership, information_worth
from offline.counterexamples.measures.perceptual_networks import LpipsDistance
from offline.counterexamples.measures.realism import (
    RealismSettings,
    frechet_distance,
    measure_realism,
    similarity,
)
from offline.counterexamples.measures.scene_distance import scene_distances
from offline.rendering.composing import single
from offline.rendering.meshes.mesh import Mesh


class Blocks(nn.Module):
    """The means of 4 × 4 blocks and of their products: features of a small module."""

    num_features = 24

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        blocks = nn.functional.avg_pool2d(images.float() / 255, 4).flatten(1)
        return torch.cat((blocks, blocks * blocks.roll(1, 1)), dim=1)


def drawn(count: int, seed: int, bright: float = 1.0) -> torch.Tensor:
    """Return images [count, 3, 8, 8]."""
    generator = torch.Generator().manual_seed(seed)
    return (255 * bright * torch.rand(count, 3, 8, 8, generator=generator)).to(torch.uint8)


@pytest.mark.parametrize(("one", "two"), [(200, 300), (40, 24), (10, 9), (2, 200)])
def test_fid_is_the_closed_form(one: int, two: int) -> None:
    """With many images, and with so few that the covariances are singular."""
    images = drawn(one, 1), drawn(two, 2, bright=0.8)
    features = [Blocks()(part) for part in images]
    found = frechet_distance(*features)
    metric = FrechetInceptionDistance(feature=Blocks())
    for part, real in zip(images, (True, False), strict=True):
        metric.update(part, real=real)
    assert found == pytest.approx(float(metric.compute()), rel=1e-4)
    if min(one, two) > Blocks.num_features:
        first, second = (np.cov(part.double().numpy().T) for part in features)
        means = [part.double().mean(dim=0).numpy() for part in features]
        root = sqrtm(first @ second).real
        expected = ((means[0] - means[1]) ** 2).sum() + np.trace(first + second - 2 * root)
        assert found == pytest.approx(expected, rel=1e-6)


def test_fid_of_the_same_images_is_zero() -> None:
    for count in (10, 100):
        features = Blocks()(drawn(count, 1))
        assert frechet_distance(features, features.flip(0)) == pytest.approx(0, abs=1e-9)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "squeeze.pth"
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), file)
    return file


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")


def pairs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    originals, images = (
        nn.functional.interpolate(drawn(7, seed), scale_factor=6) for seed in (1, 2)
    )
    images[3] = originals[3]
    return originals, images, torch.tensor([0, 0, 1, 1, 1, 0, 3])


@pytest.mark.usefixtures("offline")
def test_what_has_no_weights_is_not_measured_and_never_zero() -> None:
    found = measure_realism(*pairs(), 4, RealismSettings(), torch.device("cpu"))
    assert found.lpips is None
    assert found.realism is None
    assert found.fid is None
    assert found.lpips_by_class == found.fid_by_class == (None,) * 4
    for line, metric, setting in zip(
        found.lacking, ("LPIPS", "FID"), ("lpips_weights", "inception_weights"), strict=True
    ):
        assert line.startswith(f"{metric} is not measured: https://")
        assert line.endswith(f"set `{setting}` to a file of them")
        assert "\n" not in line
    figures = found.figures()
    assert figures["lpips"] is None
    assert figures["fid"] is None


@pytest.mark.usefixtures("offline")
def test_lpips_is_measured_pair_by_pair_and_weighs_information(
    weights: Path, device: torch.device
) -> None:
    originals, images, labels = pairs()
    settings = RealismSettings(network="squeeze", lpips_weights=weights, batch_size=2)
    found = measure_realism(originals, images, labels, 4, settings, device)
    with torch.no_grad():
        expected = LpipsDistance("squeeze", weights)(originals, images)
    assert found.lpips is not None
    assert found.realism is not None
    torch.testing.assert_close(found.lpips, expected, atol=1e-5, rtol=1e-4)
    assert found.lpips[3] == 0
    assert found.realism[3] == 1
    torch.testing.assert_close(found.realism, 1 - found.lpips)
    by_class = [float(expected[labels == each].mean()) for each in (0, 1, 3)]
    assert [found.lpips_by_class[each] for each in (0, 1, 3)] == pytest.approx(by_class, rel=1e-3)
    assert found.lpips_by_class[2] is None
    assert found.mean_lpips == pytest.approx(float(expected.mean()), rel=1e-3)
    assert len(found.lacking) == 1
    assert found.lacking[0].startswith("FID is not measured")
    predicted = torch.tensor([1, 0, 0, 1, 2, 1, 0])
    weighted = information_worth(binary_membership(predicted, 4), labels, found.realism)
    assert weighted != information_worth(binary_membership(predicted, 4), labels)


def test_similarity_by_hand() -> None:
    distance = torch.tensor([0.0, 0.25, 0.5, 2.0])
    assert similarity(distance, 0.5).tolist() == [1.0, 0.5, 0.0, 0.0]
    assert similarity(distance, 2.0).tolist() == [1.0, 0.875, 0.75, 0.0]


def test_distances_are_in_the_space_of_scenes() -> None:
    corners, faces = torch.eye(3), torch.tensor([[0, 1, 2]])
    scenes = single([Mesh("triangle", corners, faces, torch.ones(1, 3))] * 2)
    pose, vertices = scenes.pose.clone(), scenes.vertices.clone()
    pose[0, 0] += torch.tensor([0.3, -0.4, 0.0])
    vertices[1] += 0.01
    found = scene_distances(scenes, scenes.replace(pose=pose, vertices=vertices))
    assert sorted(found) == ["pose", "vertices"]
    torch.testing.assert_close(found["pose"].most, torch.tensor([0.4, 0.0]))
    torch.testing.assert_close(found["pose"].length, torch.tensor([0.5, 0.0]))
    torch.testing.assert_close(found["vertices"].most, torch.tensor([0.0, 0.01]))
    torch.testing.assert_close(found["vertices"].length, torch.tensor([0.0, 0.03]))
    assert scene_distances(scenes, scenes) == {}
    with pytest.raises(BadInput, match="2 scenes before and 1 after"):
        scene_distances(scenes, scenes[:1])
