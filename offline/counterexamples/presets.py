"""The settings that the seeds used, by model and attack."""

from guard.errors import BadInput, nearest
from offline.counterexamples.attack_settings import AttackSettings

__all__ = ["PRESETS", "preset", "with_preset"]

PRESETS = {
    # 000, table 10
    "vgg16/si-FGSM": AttackSettings(attack="si-FGSM", steps={"vertices": 0.002, "pose": 0.15}),
    "vgg16/sGD": AttackSettings(
        attack="sGD",
        steps={"vertices": 0.01, "pose": 0.20},
        bounds={"vertices": 0.05, "pose": 1.0},
    ),
    "vgg16/sCW": AttackSettings(attack="sCW", steps={"vertices": 0.01, "pose": 0.30}),
    # 000, table 11
    "resnet50/si-FGSM": AttackSettings(attack="si-FGSM", steps={"vertices": 0.01, "pose": 0.45}),
    "resnet50/sGD": AttackSettings(
        attack="sGD",
        steps={"vertices": 0.01, "pose": 0.60},
        bounds={"vertices": 0.05, "pose": 3.0},
    ),
    "resnet50/sCW": AttackSettings(attack="sCW", steps={"vertices": 0.01, "pose": 0.90}),
    # 000, table 12, and 001, section 4.1: every feature of a street, in our units of them
    "squeezedet": AttackSettings(
        attack="si-FGSM",
        steps={
            "vehicle_colour": 0.05,
            "weather": 0.25,
            "foliage": 0.10,
            "translate": 0.01,
            "rotate": 0.01,
            "mesh": 0.025,
        },
        iterations=6,
        least_coverage=0.001,  # a street's subject is far away
    ),
}
"""5 iterations each but `squeezedet`; the paper moved no translation of single objects."""


def preset(name: str) -> AttackSettings:
    """Return one of `PRESETS`.

    Raises:
        BadInput: there is none of that name.
    """
    if name not in PRESETS:
        raise BadInput(f"no preset of a semantic attack is called {name!r}{nearest(name, PRESETS)}")
    return PRESETS[name]


def with_preset(given: object) -> object:
    """Read `{preset: NAME, ...}`: the settings of the preset, but for those that are given.

    For a field of settings, by pydantic's `BeforeValidator`; what names no preset stays as it is.
    A list of steps or bounds takes the place of the preset's as a whole.

    Raises:
        ValueError: there is no preset of that name; pydantic says where.
    """
    if not isinstance(given, dict) or "preset" not in given:
        return given
    others = {name: value for name, value in given.items() if name != "preset"}
    try:
        chosen = preset(str(given["preset"]))
    except BadInput as error:
        raise ValueError(str(error)) from None
    return {**chosen.model_dump(exclude_unset=True), **others}
