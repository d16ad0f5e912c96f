"""What an attack calls done, a success, or none: confidence, targets, weights c, numbers lost."""

import pytest
import torch
from backdrops import TRIANGLE
from squares import Squares, Twice
from torch import nn

from guard.errors import BadInput
from offline.counterexamples import AttackSettings, find_counterexamples
from offline.rendering.composing import single


def attacked(red, blue=0.5, model=None, label=0, renderer=None, **settings):
    scene = single([TRIANGLE])
    scene = scene.replace(translation=torch.tensor([[[red, 0.0, blue]]]))
    return find_counterexamples(
        renderer or Squares(), model or Twice(), scene, torch.tensor([label]),
        AttackSettings(**{"steps": {"translation": 0.1}, "least_coverage": 0.0, **settings}),
    )  # fmt: skip


def distance(found):
    return (found.after.translation - found.before.translation).norm().item()


def weight_kept(found):
    """c, from what is raised at the start: −c f, where f = 2 r² − b²."""
    score = Twice()(Squares().render(found.before))[0]
    return (-found.loss[0, 0] / (score[0] - score[1])).item()


def test_the_weight_of_scw_grows_until_a_success_and_is_then_bisected():
    # Only red is moved: b is 0 and its slope too. |π| + c (2 r² − b²)₊ has its least value at the
    # boundary, r = b / √2, where the slope 4 c r is above 1 there; below it ends before.
    scene = {"attack": "sCW", "steps": {"translation": 0.02}, "iterations": 60}

    def found_with(**scw):
        return attacked(0.6, 0.5, model=RedAlone(), scw=scw, **scene)

    least = 1 / (4 * 0.5 / 2**0.5)
    once = found_with(weight=0.1)
    assert not once.success.any()
    grown = found_with(weight=0.1, searches=2)
    assert grown.success.all()
    assert weight_kept(grown) == pytest.approx(1.0, rel=1e-4)
    bisected = found_with(weight=0.1, searches=7)
    assert bisected.success.all()
    assert least < weight_kept(bisected) < 0.95
    assert distance(bisected) < distance(found_with(weight=100.0))
    assert bisected.renders > grown.renders > once.renders
    nearest = 0.6 - 0.5 / 2**0.5
    assert nearest <= distance(bisected) < nearest + 0.02


class RedAlone(Twice):
    """Has no gradient in blue."""

    def forward(self, images):
        return torch.stack((2 * images[:, 0, 0, 0], images[:, 2, 0, 0].detach()), dim=1)


def test_scw_goes_on_until_the_model_errs_with_confidence():
    settings = {"attack": "sCW", "steps": {"translation": 0.05}, "iterations": 20}
    found = {
        confidence: attacked(0.8, 0.8, scw={"weight": 10.0, "confidence": confidence}, **settings)
        for confidence in (0.0, 0.4)
    }
    for confidence, one in found.items():
        assert one.success.all()
        score = Twice()(Squares().render(one.after))[0]
        assert score[1] - score[0] >= confidence
        assert one.renders < 21
    assert found[0.4].renders > found[0.0].renders


def test_a_search_prefers_what_is_confident_though_it_is_farther():
    # With c = 0.806 the slope 4 c r is 1 at r = 0.31: an error, as r² < b² / 2, but of less than κ.
    settings = {"attack": "sCW", "steps": {"translation": 0.02}, "iterations": 60}
    once, twice = (
        attacked(
            0.6, 0.5, model=RedAlone(), **settings,
            scw={"weight": 0.806, "confidence": 0.14, "searches": searches},
        )
        for searches in (1, 2)
    )  # fmt: skip
    lead = [
        (s[1] - s[0]).item() for s in (Twice()(Squares().render(f.after))[0] for f in (once, twice))
    ]
    assert once.success.all()
    assert twice.success.all()
    assert 0 < lead[0] < 0.14 <= lead[1]
    assert distance(twice) > distance(once)


def test_towards_the_true_class_there_is_nothing_to_find():
    found = attacked(0.8, target=0)
    assert found.renders.tolist() == [1]
    assert not found.success.any()
    assert torch.equal(found.after.translation, found.before.translation)


@pytest.mark.parametrize("loss", ["logit", "cross_entropy", "margin"])
def test_a_target_is_reached_by_every_loss(loss):
    found = attacked(0.6, 0.5, target=1, loss=loss, iterations=8)
    assert found.success.all()
    assert found.predicted_after.tolist() == [1]
    assert (found.loss[0].diff() >= 0).all()


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"label": 2}, "label 2: the model has the classes 0 to 1"),
        ({"label": -1}, "label -1: the model has the classes 0 to 1"),
        ({"target": 7}, "target 7: the model has the classes 0 to 1"),
    ],
)
def test_a_class_that_the_model_has_not_is_named(case, words):
    with pytest.raises(BadInput, match=words):
        attacked(0.8, **case)


class Lost(nn.Module):
    """Class 1 sees red; class 0 has no number below r² = 0.5."""

    def forward(self, images):
        red = images[:, 0, 0, 0]
        other = torch.where(red < 0.5, self.number, -1.0)
        return torch.stack((other, red), dim=1)


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
@pytest.mark.parametrize("loss", ["logit", "cross_entropy", "margin"])
def test_a_logit_that_is_no_number_is_no_error_of_the_model(number, loss):
    model = Lost()
    model.number = number
    found = attacked(0.9, model=model, label=1, loss=loss)
    assert not found.success.any()
    assert found.loss.isfinite().all()


class Between(nn.Module):
    """Errs wherever red is not one of the 256 levels of 8 bits."""

    def forward(self, images):
        level = 255 * images[:, 0, 0, 0]
        return torch.stack((0.01 * level, 10 * (level - level.round()).abs().detach()), dim=1)


def test_a_scene_does_not_leave_for_an_error_that_rounding_takes_back():
    found = attacked((204 / 255) ** 0.5, model=Between(), steps={"translation": 0.0123})
    assert found.predicted_before.tolist() == [0]
    assert found.renders.tolist() == [6]
    assert not found.success.any()


class Far(Squares):
    """Shows little of its subject, the less the farther it is."""

    def coverage(self, scene):
        return 0.0125 * scene.translation[:, 0, 0]


def test_of_a_far_subject_half_must_stay_in_view():
    found = attacked(0.8, 0.1, renderer=Far(), iterations=8, least_coverage=0.02)
    assert 0.3999 <= found.after.translation[0, 0, 0] < 0.4501
