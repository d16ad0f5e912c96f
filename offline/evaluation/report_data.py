"""What a release report shows. A part that is None, or empty, is left out of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from offline.corner_cases import CornerCases, Dropped, Seeds
from offline.evaluation.counterexamples_shown import AttackShown
from offline.evaluation.detection import Detection
from offline.evaluation.distortion import DistortionCurve
from offline.evaluation.image_arrays import Picture
from offline.evaluation.robustness import Accuracy

__all__ = [
    "BundleFacts",
    "CornerCaseExample",
    "CornerCaseExamples",
    "Measure",
    "ReportData",
    "TrainingCurve",
    "corner_case_examples",
]


@dataclass(frozen=True)
class Measure:
    """A figure before and after hardening, and the floor that the recipe sets for the latter.

    Attributes:
        name: what was measured.
        before, after: None where it was not measured.
        floor: None where none is set.
        at_most: the floor is a ceiling: the figure must not lie above it.
        pattern: how the figure is written, such as `{:.1%}` or `{:.4f}`.
    """

    name: str
    before: float | None
    after: float | None
    floor: float | None = None
    at_most: bool = False
    pattern: str = "{:.1%}"

    @property
    def holds(self) -> bool | None:
        """Whether the floor is met; None without a floor; a figure not measured meets none."""
        if self.floor is None:
            return None
        if self.after is None:
            return False
        return self.after <= self.floor if self.at_most else self.after >= self.floor

    def written(self, value: float | None) -> str:
        """Write one of the values as a reader wants it."""
        return "–" if value is None else self.pattern.format(value)


@dataclass(frozen=True, eq=False)
class CornerCaseExample:
    """A deformed image; `flagged` says whether the detector called it a corner case."""

    original: Picture
    deformed: Picture
    label: str
    prediction: str
    confidence: float
    flagged: bool | None = None


@dataclass(frozen=True, eq=False)
class CornerCaseExamples:
    """Some images of one transformation."""

    name: str
    configuration: str
    success_rate: float
    mean_confidence: float
    examples: tuple[CornerCaseExample, ...]


@dataclass(frozen=True, eq=False)
class TrainingCurve:
    """Values by epoch, one list for each series; all of one picture share an axis."""

    title: str
    quantity: str
    series: dict[str, Sequence[float]]


@dataclass(frozen=True)
class BundleFacts:
    """What is shipped: the detector's layers and threshold, and the files with their bytes."""

    layers: tuple[str, ...]
    threshold: float
    false_alarm_rate: float
    calibration_size: int
    files: dict[str, int]
    fingerprint: str | None = None


@dataclass(frozen=True, eq=False)
class ReportData:
    """All that the report of one release shows.

    Attributes:
        name: of the recipe.
        measures: the summary, in the order shown.
        counterexamples: of each semantic attack, for the gallery.
        corner_cases: examples to look at.
        dropped: transformations that gave no corner cases.
        detection: Table 3.6, ROC curves and histograms of the released model.
        threshold: of the joint discrepancy, drawn into the histogram.
        distortion: Figure 3.4, one curve for each transformation.
        training: losses and accuracies by epoch.
        clean: the released model on clean images, for the confusion by class.
        bundle: what is shipped.
        recipe: the recipe's text.
        versions: of the packages at work.
    """

    name: str
    measures: tuple[Measure, ...]
    counterexamples: tuple[AttackShown, ...] | None = None
    corner_cases: tuple[CornerCaseExamples, ...] | None = None
    dropped: tuple[Dropped, ...] = ()
    detection: Detection | None = None
    threshold: float | None = None
    distortion: tuple[DistortionCurve, ...] | None = None
    training: tuple[TrainingCurve, ...] | None = None
    clean: Accuracy | None = None
    bundle: BundleFacts | None = None
    recipe: str | None = None
    versions: dict[str, str] | None = None


def corner_case_examples(
    cases: CornerCases,
    seeds: Seeds,
    classes: Sequence[str],
    *,
    valid: Bool[Tensor, " n"] | None = None,
    limit: int = 8,
) -> CornerCaseExamples:
    """Choose the first `limit` images to show, successful corner cases before failed ones.

    `valid` is what the detector says of each image of `cases`.
    """
    order = cases.succeeded.int().argsort(descending=True, stable=True)[:limit].tolist()
    return CornerCaseExamples(
        name=cases.name,
        configuration=cases.deformation.describe(),
        success_rate=cases.success_rate,
        mean_confidence=cases.confidences.mean().item(),
        examples=tuple(
            CornerCaseExample(
                original=seeds.images[place].cpu().numpy(),
                deformed=cases.images[place].numpy(),
                label=classes[int(cases.labels[place])],
                prediction=classes[int(cases.predictions[place])],
                confidence=cases.confidences[place].item(),
                flagged=None if valid is None else not bool(valid[place]),
            )
            for place in order
        ),
    )
