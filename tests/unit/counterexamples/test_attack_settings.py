"""The settings of a semantic attack: the paper's figures, and mistakes that are named."""

import pytest

from guard.errors import BadInput
from guard.settings import parse_settings
from offline.counterexamples import PRESETS, AttackSettings, preset


@pytest.mark.parametrize(
    ("name", "pose", "vertices", "bounds"),
    [
        ("vgg16/si-FGSM", 0.15, 0.002, {}),
        ("vgg16/sGD", 0.20, 0.01, {"pose": 1.0, "vertices": 0.05}),
        ("resnet50/si-FGSM", 0.45, 0.01, {}),
        ("resnet50/sGD", 0.60, 0.01, {"pose": 3.0, "vertices": 0.05}),
    ],
)
def test_the_presets_are_tables_10_and_11(name, pose, vertices, bounds):
    settings = preset(name)
    assert settings.steps == {"pose": pose, "vertices": vertices}
    assert settings.bounds == bounds
    assert settings.rounds == 5
    assert settings.attack == name.split("/")[1]
    moves = settings.moves()
    assert moves["pose"].bound == bounds.get("pose")


def test_every_setting_survives_being_written_and_read():
    for settings in (*PRESETS.values(), AttackSettings(attack="sFGSM")):
        assert AttackSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps: {posse: 0.1}", "'posse' is no semantic feature; did you mean 'pose'?"),
        ("steps: {pose: -0.1}", "steps.pose: input should be greater than 0"),
        ("steps: {}", "steps"),
        ("bounds: {light: 1.0}", "a bound is given for 'light', which has no step"),
        ("attack: sGD", "sGD wants a bound for pose, translation, vertices"),
        ("{attack: sFGSM, iterations: 3}", "sFGSM takes one step"),
        ("attack: sWGD", "attack"),
        ("least_coverage: 1.5", "least_coverage"),
    ],
)
def test_mistakes_are_named_in_one_line(text, words):
    with pytest.raises(BadInput) as caught:
        parse_settings(text, "recipe.yaml", AttackSettings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_preset_is_named():
    with pytest.raises(BadInput, match="did you mean 'vgg16/sGD'"):
        preset("vgg16/SGD")
