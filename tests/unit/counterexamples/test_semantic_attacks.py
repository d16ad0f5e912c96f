"""sFGSM, si-FGSM and sGD on a renderer whose images are a closed form of the scene parameters."""

import pytest
import torch
from backdrops import TRIANGLE
from squares import Squares, Twice

from guard.errors import BadInput
from offline.counterexamples import AttackSettings, find_counterexamples
from offline.rendering.composing import single


def scenes_at(*reds, blue=0.25, device="cpu"):
    scene = single([TRIANGLE] * len(reds)).to(device)
    place = [[[red, 0.0, blue]] for red in reds]
    return scene.replace(translation=torch.tensor(place, device=device))


def attacked(scenes, labels=None, **settings):
    settings = AttackSettings(**{"least_coverage": 0.0, **settings})
    labels = torch.zeros(len(scenes), dtype=torch.int64) if labels is None else labels
    return find_counterexamples(Squares(), Twice(), scenes, labels, settings, batch_size=2)


def test_si_fgsm_follows_equation_2(device):
    # z_0 = 2 r²: the sign of its gradient 4 r turns with r, and is taken anew at each θ_k.
    found = attacked(
        scenes_at(0.8, 0.45, blue=0.01, device=device),
        attack="si-FGSM", steps={"translation": 0.2}, iterations=4,
    )  # fmt: skip
    # Blue is no part of z_0, so its gradient is 0 and it stays.
    reached = torch.tensor([[[0.0, 0.0, 0.01]], [[0.05, 0.0, 0.01]]])
    torch.testing.assert_close(found.after.translation, reached, atol=1e-6, rtol=0)
    losses = torch.tensor(
        [[-1.28, -0.72, -0.32, -0.08, 0.0], [-0.405, -0.125, -0.005, -0.045, -0.005]]
    )
    torch.testing.assert_close(found.loss, losses, atol=1e-6, rtol=0)


def test_sgd_follows_equation_3_and_is_projected(device):
    # r ← r − 0.1 · 4 r, so each step multiplies by 0.6; the ball of radius 0.4 ends at 0.4.
    found = attacked(
        scenes_at(0.8, 0.5, blue=0.01, device=device),
        attack="sGD", steps={"translation": 0.1}, bounds={"translation": 0.4}, iterations=3,
    )  # fmt: skip
    reds = found.after.translation[:, 0, 0]
    torch.testing.assert_close(reds, torch.tensor([0.4, 0.5 * 0.6**3]))
    losses = [-2 * 0.8**2, -2 * 0.48**2, -2 * 0.4**2, -2 * 0.4**2]
    torch.testing.assert_close(found.loss[0], torch.tensor(losses))


def test_sfgsm_is_one_step_of_equation_1():
    found = attacked(scenes_at(0.8), attack="sFGSM", steps={"translation": 0.25})
    assert found.after.translation[0, 0, 0].item() == pytest.approx(0.55)
    assert found.loss.shape == (1, 2)


def test_the_first_success_is_kept_and_a_scene_wrong_from_the_start_is_told_apart():
    # Class 1 wins below 2 r² = blue² = 0.25, that is below r = 0.354.
    scenes = scenes_at(0.8, 0.5, 0.2, 2.0, blue=0.5)
    found = attacked(scenes, steps={"translation": 0.1})
    reds = found.after.translation[:, 0, 0]
    torch.testing.assert_close(reds, torch.tensor([0.3, 0.3, 0.2, 1.5]))
    assert found.success.tolist() == [True, True, False, False]
    assert found.already_wrong.tolist() == [False, False, True, False]
    assert found.predicted_before.tolist() == [0, 0, 1, 0]
    assert found.predicted_after.tolist() == [1, 1, 1, 0]
    assert found.figures() == {
        "scenes": 4,
        "already_wrong": 1,
        "found": 2,
        "renders": 16,  # 6 + 3 + 1 + 6
        "accuracy_before": 0.75,
        "accuracy_after": 0.25,
    }
    # After its stop at r = 0.3 the second scene's trace stays at −2 · 0.09.
    torch.testing.assert_close(found.loss[1, 2:], torch.full((4,), -0.18))
    red = found.images_after[:, 0, 0, 0].tolist()
    assert red == [23, 23, 10, 255]  # 255 r², and what is brighter than white is stored as white
    assert found.images_before[:, 0, 0, 0].tolist() == [163, 64, 10, 255]
    logits = Twice()(found.images_after.float() / 255)
    torch.testing.assert_close(found.confidence_after, logits.softmax(dim=1).amax(dim=1))


def test_the_scenes_given_are_not_changed():
    scenes = scenes_at(0.8, 0.5, 0.7)
    before = scenes.translation.clone()
    found = attacked(scenes, steps={"translation": 0.1})
    assert torch.equal(scenes.translation, before)
    assert torch.equal(found.before.translation, before)
    assert torch.equal(found.after.pose, scenes.pose)


class Tethered(Squares):
    """Loses sight of the object below r = 0.42, though the model would err below 0.354."""

    def coverage(self, scene):
        return torch.where(scene.translation[:, 0, 0] < 0.42, 0.01, 0.5)


def test_an_object_out_of_view_is_never_counted():
    settings = AttackSettings(steps={"translation": 0.1}, iterations=8)
    labels = torch.zeros(2, dtype=torch.int64)
    scenes = scenes_at(0.8, 0.5, blue=0.5)
    found = find_counterexamples(Tethered(), Twice(), scenes, labels, settings)
    assert not found.success.any()
    assert (found.after.translation[:, 0, 0] >= 0.42).all()
    assert (found.after.translation[:, 0, 0] < 0.47).all()  # halved steps come close to the limit
    free = find_counterexamples(Squares(), Twice(), scenes, labels, settings)
    assert free.success.all()


def test_a_feasible_set_of_the_callers_own_is_kept():
    def on_the_road(scenes):
        return scenes.translation[:, 0, 0] > 0.4

    settings = AttackSettings(steps={"translation": 0.1}, least_coverage=0.0)
    scenes, labels = scenes_at(0.8, blue=0.5), torch.tensor([0])
    found = find_counterexamples(Squares(), Twice(), scenes, labels, settings, feasible=on_the_road)
    assert not found.success.any()
    assert found.after.translation[0, 0, 0] > 0.4


class Broken(Squares):
    """Gives a green that is no number below r = 0.45; the model looks at no green."""

    def render(self, scene):
        images = super().render(scene).clone()
        images[scene.translation[:, 0, 0] < 0.45, 1] = torch.nan
        return images


def test_an_image_that_is_not_finite_is_never_counted():
    settings = AttackSettings(steps={"translation": 0.1}, least_coverage=0.0)
    scenes, labels = scenes_at(0.8, 1.2, blue=0.5), torch.zeros(2, dtype=torch.int64)
    found = find_counterexamples(Broken(), Twice(), scenes, labels, settings)
    assert found.predicted_after.tolist() == [1, 0]
    assert not found.success.any()


@pytest.mark.parametrize("labels", [[0], [0, 0, 0], []])
def test_one_label_for_each_scene_is_wanted(labels):
    with pytest.raises(BadInput, match="2 scenes with"):
        attacked(scenes_at(0.8, 0.5), torch.tensor(labels, dtype=torch.int64))
