"""The benchmarks of renderers, at tiny sizes."""

import math
from functools import partial

import pytest
import torch
import typer

from offline.rendering.rasterizer import Rasterizer
from tests.benchmarks import gradients, rendering
from tests.benchmarks.peak_memory import peak_mb
from tests.benchmarks.rendered_scenes import GROUPS, matt_scenes
from tests.benchmarks.renderers import step


def test_every_renderer_takes_its_turn_in_every_round() -> None:
    makes = {"two": partial(Rasterizer, samples=2), "one": partial(Rasterizer, samples=1)}
    found = rendering.measure(makes, (16, 100, 2), 3, "cpu")
    assert [*found] == ["two", "one"]
    for seconds, peak in found.values():
        assert len(seconds) == 3
        assert min(seconds) > 0
        assert peak >= 0


def test_more_samples_are_nearer_to_the_reference() -> None:
    makes = {str(n): partial(Rasterizer, samples=n) for n in (1, 2, 4)}
    error = rendering.errors(makes, matt_scenes(1, 200, seed=1), 32)
    assert 0 < error["4"] < error["2"] < error["1"] < 0.1


def test_growth_is_the_exponent() -> None:
    times = {
        (size, faces, 16): [1e-6 * faces**0.5 * size**2] * 2
        for size in rendering.SIZES
        for faces in rendering.FACES
    }
    found = rendering.growth(times)
    assert found == {"faces": pytest.approx(0.5, abs=1e-3), "pixels": pytest.approx(1, abs=1e-3)}
    assert rendering.growth({}) == {}


def test_a_ratio_is_taken_round_by_round() -> None:
    assert rendering.ratio([1.0, 2.0, 4.0], [10.0, 40.0, 120.0])["ratio"] == 20


def test_a_cell_that_is_none_is_named() -> None:
    assert rendering.cells((1, 16), "64_1000_16") == [(64, 1000, 16)]
    assert len(rendering.cells((1, 16), None)) == 18
    with pytest.raises(typer.BadParameter, match="65_1000_16: one of 64_1000_1, "):
        rendering.cells((1, 16), "65_1000_16")


def test_a_renderer_that_is_absent_is_named_with_a_reason() -> None:
    makes, found = rendering.chosen_rays(matt_scenes(1, 100, seed=2), 16, (1,))
    assert {"rasterizer", "rasterizer_1"} <= {*makes}
    assert {*makes, *found["absent"]} == {"rasterizer", "rasterizer_1", "redner", "mitsuba"}
    assert {*found["error"]} == {*makes}
    assert all(reason.startswith("not installed: ") for reason in found["absent"].values())


def test_memory_that_is_taken_and_given_back_is_seen() -> None:
    def take() -> None:
        sum(float(torch.ones(25_000_000).sum()) for _ in range(20))

    assert 80 < peak_mb(take) < 300


def test_a_step_returns_the_gradient_of_every_group() -> None:
    scene = matt_scenes(2, 100, seed=3)
    found = step(Rasterizer(16, 16), scene, torch.ones(2, 3, 16, 16))
    assert [*found] == [*GROUPS]
    for name, gradient in found.items():
        assert gradient.shape == scene.parameters()[name].shape
        assert gradient.abs().sum() > 0


def test_finite_differences_are_the_derivative_of_what_is_linear() -> None:
    """The image of a matt surface is linear in the strength of its light."""
    scene = matt_scenes(1, 100, seed=4)
    functionals = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    moves = {"light": torch.eye(6, dtype=torch.float64)[3:]}
    renderer = Rasterizer(16, 16)
    found = gradients.finite_differences(renderer, scene, functionals, moves, 0.1)["light"]
    dark = scene.replace(light=scene.light * torch.tensor([1, 1, 1, 0, 0, 0.0]))
    change = ((renderer.render(scene) - renderer.render(dark)) * functionals).sum((2, 3))
    wanted = change.double() / scene.light[0, 3:]
    torch.testing.assert_close(found, wanted.flatten(), rtol=1e-4, atol=1e-4)
    ours = gradients.slopes(renderer, scene, functionals, moves)["light"]
    torch.testing.assert_close(ours, found, rtol=1e-4, atol=1e-4)


def test_agreement_is_cosine_and_relative_distance() -> None:
    ours, theirs = torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0])
    found = gradients.agreement({"pose": ours}, {"pose": theirs})["pose"]
    assert found == {"cosine": pytest.approx(math.sqrt(0.5), abs=1e-5), "relative_error": 1.0}
