"""The settings of a semantic attack: the paper's figures, and mistakes that are named."""

from typing import Annotated

import pytest
from pydantic import BeforeValidator

from guard.errors import BadInput
from guard.settings import Settings, parse_settings
from offline.counterexamples import PRESETS, AttackSettings, preset, with_preset


@pytest.mark.parametrize(
    ("name", "pose", "vertices", "bounds"),
    [
        ("vgg16/si-FGSM", 0.15, 0.002, {}),
        ("vgg16/sGD", 0.20, 0.01, {"pose": 1.0, "vertices": 0.05}),
        ("resnet50/si-FGSM", 0.45, 0.01, {}),
        ("resnet50/sGD", 0.60, 0.01, {"pose": 3.0, "vertices": 0.05}),
        ("vgg16/sCW", 0.30, 0.01, {}),
        ("resnet50/sCW", 0.90, 0.01, {}),
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
        ("{attack: sCW, loss: logit}", "sCW lowers the margin"),
        ("scw: {weight: 1.0}", "`scw` is of the attack sCW alone"),
        (
            "{attack: sCW, scw: {searches: 0}}",
            "scw.searches: input should be greater than or equal to 1",
        ),
        ("{attack: sCW, scw: {weight: 0}}", "scw.weight: input should be greater than 0"),
        ("{attack: sCW, scw: {norm: 3}}", "scw.norm: input should be 1 or 2"),
        ("loss: hinge", "loss: input should be 'logit', 'cross_entropy' or 'margin'"),
        ("target: most_likely", "target"),
        ("target: -1", "target"),
        ("iterations: 0", "iterations: input should be greater than or equal to 1"),
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


class Job(Settings):
    """As a recipe names its attack."""

    attack: Annotated[AttackSettings, BeforeValidator(with_preset)]


def test_a_preset_is_named_and_departed_from():
    text = "attack: {preset: resnet50/sCW, iterations: 9, scw: {weight: 2.0}}"
    chosen = parse_settings(text, "job.yaml", Job).attack
    assert chosen.steps == PRESETS["resnet50/sCW"].steps
    assert (chosen.attack, chosen.rounds, chosen.scw.weight) == ("sCW", 9, 2.0)
    plain = parse_settings("attack: {attack: sFGSM}", "job.yaml", Job).attack
    assert plain == AttackSettings(attack="sFGSM")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "attack:\n  preset: resnet50/CW",
            "no preset of a semantic attack is called 'resnet50/CW'",
        ),
        ("attack:\n  preset: [1]", "no preset of a semantic attack is called '[1]'"),
        ("attack: {preset: vgg16/sGD, steps: {pose: 0.1}}", "a bound is given for 'vertices'"),
    ],
)
def test_mistakes_beside_a_preset_are_named_in_one_line(text, words):
    with pytest.raises(BadInput, match=r"^job\.yaml:1: attack: ") as caught:
        parse_settings(text, "job.yaml", Job)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
