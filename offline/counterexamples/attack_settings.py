"""What a person sets of a semantic attack, and the settings that the paper used."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from guard.errors import BadInput, nearest
from guard.settings import Settings
from offline.attacks import Move, raw, sign
from offline.rendering.scene import PARAMETERS

__all__ = ["PRESETS", "AttackSettings", "preset"]

Positive = Annotated[float, Field(gt=0)]


class AttackSettings(Settings):
    """A semantic attack: which scene parameters it moves, how far, how often (000, Appendix B).

    Attributes:
        attack: `sFGSM` (equation 1) is one step of the sign of the gradient, `si-FGSM` (equation 2)
            `iterations` of them, `sGD` (equation 3) steps along the gradient itself.
        steps: the step size of each scene parameter that is moved, in its own unit: radians of
            `pose`, radii of the object for `translation` and `vertices`.
        bounds: how far a parameter may go from where it was (the ball of equation 3, l∞), by
            name; `sGD` wants one for each, the others are bound only where one is given.
        iterations: the greatest number of steps; 5 where it is left out, and always 1 for `sFGSM`.
        least_coverage: the fraction of the pixels that must still show the object; a step
            that leaves less is not taken.
    """

    attack: Literal["sFGSM", "si-FGSM", "sGD"] = "si-FGSM"
    steps: dict[str, Positive] = Field(
        default={"pose": 0.15, "translation": 0.05, "vertices": 0.002}, min_length=1
    )
    bounds: dict[str, Positive] = Field(default={})
    iterations: int | None = Field(default=None, ge=1)
    least_coverage: float = Field(default=0.02, ge=0, lt=1)

    @model_validator(mode="after")
    def _consistent(self) -> "AttackSettings":
        for name in (*self.steps, *self.bounds):
            if name not in PARAMETERS:
                raise ValueError(f"{name!r} is no scene parameter{nearest(name, PARAMETERS)}")
        for name in self.bounds:
            if name not in self.steps:
                raise ValueError(f"a bound is given for {name!r}, which has no step")
        unbound = [name for name in self.steps if name not in self.bounds]
        if self.attack == "sGD" and unbound:
            raise ValueError(f"sGD wants a bound for {', '.join(unbound)}")
        if self.attack == "sFGSM" and self.iterations not in (None, 1):
            raise ValueError("sFGSM takes one step; si-FGSM takes several")
        return self

    @property
    def rounds(self) -> int:
        """How many steps the attack takes at the most."""
        return self.iterations or (1 if self.attack == "sFGSM" else 5)

    def moves(self) -> dict[str, Move]:
        """Return how each scene parameter moves."""
        direction = raw if self.attack == "sGD" else sign
        return {
            name: Move(step, direction=direction, bound=self.bounds.get(name))
            for name, step in self.steps.items()
        }


PRESETS = {
    # 000, table 10
    "vgg16/si-FGSM": AttackSettings(attack="si-FGSM", steps={"vertices": 0.002, "pose": 0.15}),
    "vgg16/sGD": AttackSettings(
        attack="sGD",
        steps={"vertices": 0.01, "pose": 0.20},
        bounds={"vertices": 0.05, "pose": 1.0},
    ),
    # 000, table 11
    "resnet50/si-FGSM": AttackSettings(attack="si-FGSM", steps={"vertices": 0.01, "pose": 0.45}),
    "resnet50/sGD": AttackSettings(
        attack="sGD",
        steps={"vertices": 0.01, "pose": 0.60},
        bounds={"vertices": 0.05, "pose": 3.0},
    ),
}
"""The paper's settings by model and attack, 5 iterations each; it moved no translation."""


def preset(name: str) -> AttackSettings:
    """Return one of `PRESETS`.

    Raises:
        BadInput: there is none of that name.
    """
    if name not in PRESETS:
        raise BadInput(f"no preset of a semantic attack is called {name!r}{nearest(name, PRESETS)}")
    return PRESETS[name]
