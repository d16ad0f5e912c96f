"""The attack on a trained classifier by each renderer, and what one found as another shows it."""

from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from trained_classifier import SIZE, new_scenes, trained_classifier

from guard.errors import BadInput, CornerguardError
from guard.settings import parse_settings
from offline.counterexamples import (
    AttackSettings,
    Counterexamples,
    SearchSettings,
    find_counterexamples,
    load_shards,
)
from offline.datasets import split
from offline.rendering.engines import make_renderer
from offline.rendering.redner.environment import HOME_VARIABLE
from offline.rendering.rendered_set import RenderedImages, RenderSettings, render_set
from offline.rendering.renderer import Renderer
from offline.rendering.sampling import SceneRanges
from offline.scene_attack import SceneAttack
from offline.sources import RenderedData

SETTINGS = AttackSettings(steps={"pose": 0.15, "translation": 0.05, "vertices": 0.002})
SEED = 5


def make_renderer_or_skip(name: str, stack: ExitStack, samples: int = 2) -> Renderer:
    """Return a renderer that is closed with the test, or skip where it is not installed."""
    try:
        renderer = make_renderer(name, (SIZE, SIZE), samples)
    except CornerguardError as error:
        pytest.skip(str(error))
    if hasattr(renderer, "__exit__"):
        stack.enter_context(renderer)
    return renderer


def attacked(renderer: Renderer, count: int) -> Counterexamples:
    scenes, labels = new_scenes(count, SEED)
    return find_counterexamples(renderer, trained_classifier(), scenes, labels, SETTINGS)


def wrong_share(renderer: Renderer, found: Counterexamples, after: bool) -> float:
    """Return the share of successes that the model gets wrong as a renderer shows the scene."""
    scenes = (found.after if after else found.before)[found.success]
    images = (renderer.render(scenes) * 255).round() / 255
    with torch.no_grad():
        predicted = trained_classifier()(images).argmax(dim=1)
    return float((predicted != found.labels[found.success]).float().mean())


@pytest.mark.parametrize(("name", "count"), [("rasterizer", 24), ("mitsuba", 4), ("redner", 4)])
def test_the_same_attack_runs_with_each_renderer(name: str, count: int) -> None:
    with ExitStack() as stack:
        renderer = make_renderer_or_skip(name, stack)
        found = attacked(renderer, count)
        assert not found.already_wrong.any()
        assert (found.loss[:, -1] > found.loss[:, 0]).all()
        assert int(found.success.sum()) >= count / 2
        assert wrong_share(renderer, found, after=False) == 0
        assert wrong_share(renderer, found, after=True) == 1


@pytest.mark.parametrize("other", ["mitsuba", "redner"])
def test_what_the_rasterizer_found_fools_the_model_by_another_renderer(other: str) -> None:
    with ExitStack() as stack:
        renderer = make_renderer_or_skip(other, stack)
        found = attacked(make_renderer_or_skip("rasterizer", stack), 24)
        assert int(found.success.sum()) >= 12
        assert wrong_share(renderer, found, after=False) <= 0.1
        assert wrong_share(renderer, found, after=True) >= 0.5


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RenderedData:
    folder = tmp_path_factory.mktemp("set")
    settings = RenderSettings(size=SIZE, train=12, test=12, ranges=SceneRanges(gloss=(0, 0)))
    render_set(folder, 12, settings, seed=4)
    images = RenderedImages(folder, settings, seed=4)
    return RenderedData(*split(images, 0.5, 0), images, images)


@pytest.mark.parametrize("name", ["rasterizer", "mitsuba", "redner"])
def test_a_recipe_chooses_the_renderer(name: str, data: RenderedData, tmp_path: Path) -> None:
    """Seen by the images from which the attack starts: alike, but of that renderer."""
    text = f"{{attack: sFGSM, renderer: {name}, steps: {{pose: 0.01}}}}"
    settings = parse_settings(text, "recipe.yaml", SearchSettings)
    with ExitStack() as stack:
        renderer = make_renderer_or_skip(name, stack, samples=1)
        attack = SceneAttack(data, settings, torch.device("cpu"))
        attack.on_train(trained_classifier(), torch.arange(2), tmp_path)
        found = load_shards(tmp_path)
        expected = (renderer.render(found.before) * 255).round().to(torch.uint8)
    assert torch.equal(found.images_before, expected)
    stored = data.train.fetch(torch.arange(2))
    assert float((found.images_before / 255 - stored).abs().mean()) < 0.02
    assert torch.equal(found.images_before, (stored * 255).round().to(torch.uint8)) == (
        name == "rasterizer"
    )


def test_an_unknown_renderer_is_named() -> None:
    with pytest.raises(BadInput, match=r"recipe.yaml:1: renderer: .*'rasterizer'.*'blender'"):
        parse_settings("renderer: blender", "recipe.yaml", AttackSettings)


def test_a_renderer_that_is_not_installed_is_refused_before_anything_is_trained(
    data: RenderedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    settings = SearchSettings(renderer="redner")
    with pytest.raises(CornerguardError, match="renderer redner: no environment at"):
        SceneAttack(data, settings, torch.device("cpu"))
