"""What a person sets of a semantic attack."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from guard.errors import nearest
from guard.settings import Settings
from offline.attacks import AdamMove, Move, raw, sign
from offline.counterexamples.features import FEATURES

__all__ = ["AttackSettings", "CarliniWagnerSettings"]

Positive = Annotated[float, Field(gt=0)]


class CarliniWagnerSettings(Settings):
    """The objective of sCW: ‖π‖_p + c · f, where f is the margin (000, equations 4 and 5).

    Attributes:
        norm: p of the distance in the space of scene parameters (000, appendix E.3: 2).
        weight: c; the first one where it is searched.
        confidence: κ, the margin by which the model must err before f is 0.
        searches: how many values of c are tried of each scene: c is multiplied by 10 until there is
            a success, then bisected, and the nearest success is kept (Carlini & Wagner 2017). Each
            costs as many renders as the first.
    """

    norm: Literal[1, 2] = 2
    weight: Positive = 0.1
    confidence: float = Field(default=0.0, ge=0)
    searches: int = Field(default=1, ge=1, le=20)


class AttackSettings(Settings):
    """A semantic attack: which features it moves, how far, how often (000, Appendix B).

    Attributes:
        attack: `sFGSM` (equation 1) is one step of the sign of the gradient, `si-FGSM` (equation 2)
            `iterations` of them, `sGD` (equation 3) steps along the gradient itself, `sCW`
            (equations 4 and 5) descends with Adam in tanh space.
        steps: the step size α of each feature that is moved, in its own unit (see `Scene`): radians
            of `pose`, radii of the object for `translation` and `vertices`. For `sCW` it is the
            learning rate η, which is about as far; for `sGD` a factor on the gradient.
        bounds: how far a feature may go from where it was (the ball of equation 3, l∞), in the
            same units; `sGD` wants one for each, the others are bound only where one is given.
        iterations: the greatest number of steps; 5 where it is left out, and always 1 for `sFGSM`.
        loss: what falls or rises: the raw score `logit` (the seed's), the `cross_entropy`, or the
            `margin`; where it is left out, `margin` for `sCW` and `logit` for the others.
        renderer: which renderer a recipe's scenes are attacked with. redner wants scenes without
            highlights: `data.rendered.ranges.gloss=[0, 0]`.
        target: the class that the model is to see: a number, or `least_likely` of each image; left
            out, any class but the true one will do.
        scw: of `sCW` alone.
        least_coverage: the fraction of the pixels that must still show the subject (or half of what
            showed it at the start, where that is less); a step that leaves less is shortened.
    """

    attack: Literal["sFGSM", "si-FGSM", "sGD", "sCW"] = "si-FGSM"
    steps: dict[str, Positive] = Field(
        default={"pose": 0.15, "translation": 0.05, "vertices": 0.002}, min_length=1
    )
    bounds: dict[str, Positive] = Field(default={})
    iterations: int | None = Field(default=None, ge=1)
    loss: Literal["logit", "cross_entropy", "margin"] | None = None
    renderer: Literal["rasterizer", "mitsuba", "redner"] = "rasterizer"
    target: Annotated[int, Field(ge=0)] | Literal["least_likely"] | None = None
    scw: CarliniWagnerSettings = CarliniWagnerSettings()
    least_coverage: float = Field(default=0.02, ge=0, lt=1)

    @model_validator(mode="after")
    def _consistent(self) -> "AttackSettings":
        for name in (*self.steps, *self.bounds):
            if name not in FEATURES:
                raise ValueError(f"{name!r} is no semantic feature{nearest(name, FEATURES)}")
        for name in self.bounds:
            if name not in self.steps:
                raise ValueError(f"a bound is given for {name!r}, which has no step")
        unbound = [name for name in self.steps if name not in self.bounds]
        if self.attack == "sGD" and unbound:
            raise ValueError(f"sGD wants a bound for {', '.join(unbound)}")
        if self.attack == "sFGSM" and self.iterations not in (None, 1):
            raise ValueError("sFGSM takes one step; si-FGSM takes several")
        if self.attack == "sCW" and self.loss not in (None, "margin"):
            raise ValueError("sCW lowers the margin; the other attacks have a choice of loss")
        if self.attack != "sCW" and self.scw != CarliniWagnerSettings():
            raise ValueError("`scw` is of the attack sCW alone")
        return self

    @property
    def rounds(self) -> int:
        """How many steps the attack takes at the most."""
        return self.iterations or (1 if self.attack == "sFGSM" else 5)

    def moves(self) -> dict[str, Move]:
        """Return how each feature moves."""
        kind = AdamMove if self.attack == "sCW" else Move
        direction = raw if self.attack == "sGD" else sign
        return {
            name: kind(step, direction, self.bounds.get(name), FEATURES[name].box)
            for name, step in self.steps.items()
        }
