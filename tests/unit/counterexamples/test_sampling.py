"""Random and Halton sampling: the points, the seed's choice among them, and equal renders."""

import numpy as np
import pytest
import torch
from scipy.stats import qmc
from torch import nn

from guard.errors import BadInput
from guard.settings import parse_settings
from offline.counterexamples import (
    AttackSettings,
    SamplingSettings,
    compare_at_equal_renders,
    find_counterexamples,
    sample_counterexamples,
)
from offline.counterexamples.sampling.sampling_settings import LARGE, SMALL, Points
from offline.rendering.composing import single
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.out_of_view import OutOfViewWarning

TRIANGLE = Mesh("triangle", torch.eye(3), torch.tensor([[0, 1, 2]]), torch.ones(1, 3))
METHODS = ("random", "halton")


class Angles:
    """Renders 1 × 1 images whose channels are the angles; it sees only what lies right of −0.5."""

    def __init__(self):
        self.rendered = 0

    def render(self, scene):
        self.rendered += len(scene)
        return (scene.pose[:, 0] / 2 + 0.5)[..., None, None]

    def radiance(self, scene):
        return self.render(scene)

    def coverage(self, scene):
        return (scene.pose[:, 0, 0] > -0.5).float()


class Threshold(nn.Module):
    """Class 1 where the first angle is above 0.2, else class 0; surer, the farther away."""

    def forward(self, images):
        angle = 2 * images[:, 0, 0, 0] - 1
        return torch.stack((torch.zeros_like(angle), 4 * (angle - 0.2)), dim=1)


def scenes_at(*angles, device="cpu"):
    scene = single([TRIANGLE] * len(angles)).to(device)
    return scene.replace(pose=torch.tensor([[[angle, 0.0, 0.0]] for angle in angles]).to(device))


def sampled(scenes, batch_size=64, feasible=None, **settings):
    labels = torch.zeros(len(scenes), dtype=torch.int64)
    settings = SamplingSettings(**settings)
    renderer = Angles()
    found = sample_counterexamples(
        renderer, Threshold(), scenes, labels, settings, batch_size, feasible=feasible
    )
    assert renderer.rendered == int(found.renders.sum())
    return found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("reach", [LARGE, SMALL])
def test_samples_fill_the_range_and_keep_to_it(method, reach):
    drawn = Points(SamplingSettings(method=method, seed=3), 200, 3)
    rows = torch.arange(200)
    points = torch.stack([drawn.take(rows, number) for number in range(10)], dim=1)
    assert points.min() >= 0
    assert points.max() < 1
    flat = points.view(-1, 3).numpy()
    low, high = np.percentile(flat, [5, 95], axis=0)
    np.testing.assert_allclose(low, 0.05, atol=0.02)
    np.testing.assert_allclose(high, 0.95, atol=0.02)
    found = sampled(scenes_at(*[0.0] * 200), method=method, ranges={"pose": reach}, samples=2)
    moved = (found.after.pose - found.before.pose).abs().amax(dim=(0, 1))
    assert (moved <= reach).all()
    assert (moved > 0.9 * reach).all()


def test_each_scenes_points_are_halton_points():
    """Of 15 points each third and each fifth holds as many as it should, in bases 3 and 5."""
    drawn = Points(SamplingSettings(method="halton"), 4, 3)
    points = torch.stack([drawn.take(torch.arange(4), n) for n in range(15)], dim=1).numpy()
    for scene in points:
        assert np.bincount((scene[:, 1] * 3).astype(int)).tolist() == [5, 5, 5]
        assert np.bincount((scene[:, 2] * 5).astype(int)).tolist() == [3, 3, 3, 3, 3]
    spread = [qmc.discrepancy(scene) for scene in points]
    chance = Points(SamplingSettings(method="random"), 4, 3)
    loose = torch.stack([chance.take(torch.arange(4), n) for n in range(15)], dim=1).numpy()
    assert np.mean(spread) < np.mean([qmc.discrepancy(scene) for scene in loose])
    assert not np.allclose(points[0], points[1])


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_decides_and_neither_batches_nor_more_samples_do(method):
    scenes = scenes_at(*torch.linspace(-0.2, 0.1, 7).tolist())
    whole, parts = (sampled(scenes, size, method=method) for size in (64, 2))
    assert torch.equal(whole.after.pose, parts.after.pose)
    assert torch.equal(whole.loss, parts.loss)
    more = sampled(scenes[:4], method=method, samples=11)
    assert torch.equal(more.loss[:, :6], whole.loss[:4])
    other = sampled(scenes, method=method, seed=1)
    assert not torch.equal(whole.after.pose, other.after.pose)


@pytest.mark.parametrize("method", METHODS)
def test_the_choice_is_the_seeds(method, device):
    scenes = scenes_at(*[0.0] * 40, -0.4, 0.5, device=device)
    found = sampled(scenes, method=method)
    # The angles are drawn again, to judge the choice among them.
    points = Points(SamplingSettings(method=method), 42, 3)
    draws = torch.stack([points.take(torch.arange(42), n)[:, 0] for n in range(5)], dim=1)
    angles = found.before.pose[:, :, 0] + (2 * draws - 1) * LARGE
    angles[angles <= -0.5] = -torch.inf  # out of view
    kept, best = found.after.pose[:, 0, 0], angles.amax(dim=1)
    clear = (best - 0.2).abs() > 0.01  # rounding to 8 bits decides between
    # Here the surest mistake and the lowest score of the true class are both the largest angle.
    expected = torch.where(best.isinf(), found.before.pose[:, 0, 0], best)
    expected[41] = 0.5
    torch.testing.assert_close(kept[clear], expected[clear], atol=0.01, rtol=0)
    hit = best > 0.2
    hit[41] = False
    assert torch.equal(found.success[clear], hit[clear])
    assert found.success.any()
    assert not found.success.all()
    assert found.already_wrong.tolist() == [False] * 41 + [True]
    assert found.renders.tolist() == [6] * 41 + [1]
    assert found.loss.shape == (42, 6)
    logits = Threshold()(found.images_after.float() / 255)
    assert torch.equal(logits.argmax(dim=1), found.predicted_after)
    torch.testing.assert_close(logits.softmax(dim=1).amax(dim=1), found.confidence_after)


def test_what_is_infeasible_is_rendered_but_never_found():
    scenes = scenes_at(*[0.0] * 30)
    found = sampled(scenes, feasible=lambda scenes: scenes.pose[:, 0, 0] < 0.1)
    assert not found.success.any()
    assert (found.after.pose[:, 0, 0] < 0.1).all()
    assert found.renders.tolist() == [6] * 30
    nowhere = sampled(scenes, feasible=lambda scenes: scenes.pose[:, 0, 0] > 5)
    assert torch.equal(nowhere.after.pose, scenes.pose)
    assert torch.equal(nowhere.images_after, nowhere.images_before)


@pytest.mark.parametrize("method", METHODS)
def test_an_attack_and_sampling_are_compared_by_as_many_renders(method):
    """An attack on the angle needs one step; few samples of the small range reach as far."""
    scenes = scenes_at(*[-0.05] * 50, 0.5)
    labels = torch.zeros(51, dtype=torch.int64)
    attack = AttackSettings(steps={"pose": 0.27}, loss="margin")
    attacked = find_counterexamples(Angles(), Threshold(), scenes, labels, attack)
    assert int(attacked.renders.sum()) == 2 * 50 + 1
    renderer = Angles()
    settings = SamplingSettings(method=method, ranges={"pose": SMALL})
    equal = compare_at_equal_renders(renderer, Threshold(), attacked, settings)
    assert renderer.rendered == equal.sampling_renders == equal.attack_renders == 101
    assert equal.attack == 50
    # One sample each, of which (0.3 − 0.25) / 0.6 = 1 / 12 are far enough.
    assert 0 < equal.sampling < 12
    assert equal.ratio == equal.attack / equal.sampling
    whole = sampled(scenes, method=method, ranges={"pose": SMALL}, samples=1)
    assert equal.sampling == int(whole.success.sum())


def test_renders_that_no_scene_needs_are_not_spent():
    scenes, labels = scenes_at(0.19, 0.18), torch.zeros(2, dtype=torch.int64)
    attack = AttackSettings(steps={"pose": 0.001}, loss="margin", iterations=40)
    attacked = find_counterexamples(Angles(), Threshold(), scenes, labels, attack)
    equal = compare_at_equal_renders(Angles(), Threshold(), attacked, SamplingSettings())
    assert equal.sampling == 2
    assert equal.sampling_renders < equal.attack_renders
    none = equal._replace(sampling=0)
    assert none.ratio == equal.attack


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ranges: {posse: 0.1}", "'posse' is no semantic feature; did you mean 'pose'?"),
        ("ranges: {pose: 0}", "ranges.pose: input should be greater than 0"),
        ("samples: 0", "samples: input should be greater than or equal to 1"),
        ("method: sobol", "method: input should be 'random' or 'halton'"),
    ],
)
def test_mistakes_are_named_in_one_line(text, words):
    with pytest.raises(BadInput) as caught:
        parse_settings(text, "recipe.yaml", SamplingSettings)
    assert words in str(caught.value)


def test_one_label_for_each_scene_is_wanted():
    with pytest.raises(BadInput, match="2 scenes with 1 labels"):
        sample_counterexamples(
            Angles(), Threshold(), scenes_at(0.0, 0.1), torch.tensor([0]), SamplingSettings()
        )


def test_a_scene_that_shows_nothing_is_left_alone():
    with pytest.warns(OutOfViewWarning, match="1 of 2 scenes show nothing of their subject: 1"):
        found = sampled(scenes_at(0.0, -0.6))
    assert found.renders.tolist() == [6, 1]
    assert not found.success[1]
    assert torch.equal(found.after.pose[1], found.before.pose[1])
