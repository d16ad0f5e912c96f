"""The attack on a trained classifier by each renderer, and what one found as another shows it."""

from contextlib import ExitStack

import pytest
import torch
from trained_classifier import SIZE, new_scenes, trained_classifier

from guard.errors import CornerguardError
from offline.counterexamples import AttackSettings, Counterexamples, find_counterexamples
from offline.rendering.engines import make_renderer
from offline.rendering.renderer import Renderer

SETTINGS = AttackSettings(steps={"pose": 0.15, "translation": 0.05, "vertices": 0.002})
SEED = 5


def renderer_named(name: str, stack: ExitStack) -> Renderer:
    """Return a renderer that is closed with the test, or skip where it is not installed."""
    try:
        renderer = make_renderer(name, (SIZE, SIZE), samples=2)
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
        renderer = renderer_named(name, stack)
        found = attacked(renderer, count)
        assert not found.already_wrong.any()
        assert (found.loss[:, -1] > found.loss[:, 0]).all()
        assert int(found.success.sum()) >= count / 2
        assert wrong_share(renderer, found, after=False) == 0
        assert wrong_share(renderer, found, after=True) == 1


@pytest.mark.parametrize("other", ["mitsuba", "redner"])
def test_what_the_rasterizer_found_fools_the_model_by_another_renderer(other: str) -> None:
    with ExitStack() as stack:
        renderer = renderer_named(other, stack)
        found = attacked(renderer_named("rasterizer", stack), 24)
        assert int(found.success.sum()) >= 12
        assert wrong_share(renderer, found, after=False) <= 0.1
        assert wrong_share(renderer, found, after=True) >= 0.5
