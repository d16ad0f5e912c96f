"""What a person may set about the evaluation before a release, and what must come out of it."""

from typing import Annotated

from pydantic import Field

from guard.settings import Settings
from offline.counterexamples.measures.realism_settings import RealismSettings

__all__ = ["EvaluateSettings", "Floors"]

Fraction = Annotated[float, Field(ge=0, le=1)]


class EvaluateSettings(Settings):
    """How robustness is measured.

    Attributes:
        epsilon: radius of the l∞ ball of PGD on [0, 1] images; without it, that of `harden`; with
            neither, robust accuracy is not measured.
        steps: of PGD, each of a quarter of epsilon, from a random start.
        images: of the test set that are attacked, the first ones after a shuffle.
        realism: how LPIPS and FID of semantic counterexamples are measured (000, section 4.3); left
            out, they are not.
        distortion: for how many strengths each transformation's detection rate is drawn; 0 leaves
            the picture out.
    """

    epsilon: float | None = Field(None, gt=0, le=1)
    steps: int = Field(10, ge=1)
    images: int = Field(1000, ge=1)
    realism: RealismSettings | None = None
    distortion: int = Field(12, ge=0)


class Floors(Settings):
    """What must hold before a release; a run that falls short of one exports nothing, exits with 1.

    Every figure is a fraction in [0, 1] and speaks of the model that is released, but for
    `counterexample_cost`; one that is not given is not checked.

    Attributes:
        clean_accuracy: on the test images.
        robust_accuracy: on test images under PGD.
        counterexample_cost: accuracy that the semantic attack costs the trained model.
        counterexample_accuracy: under the semantic attack on the released model itself.
        stored_counterexample_accuracy: on the counterexamples of the trained model.
        corner_case_auc: area under the ROC curve, all successful corner cases.
        corner_case_detection: of successful corner cases at the threshold.
        counterexample_auc: area under the ROC curve, successful semantic counterexamples.
        false_alarms_at_most: the realised false-alarm rate on clean test images.
    """

    clean_accuracy: Fraction | None = None
    robust_accuracy: Fraction | None = None
    counterexample_cost: Fraction | None = None
    counterexample_accuracy: Fraction | None = None
    stored_counterexample_accuracy: Fraction | None = None
    corner_case_auc: Fraction | None = None
    corner_case_detection: Fraction | None = None
    counterexample_auc: Fraction | None = None
    false_alarms_at_most: Fraction | None = None
