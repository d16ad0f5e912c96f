"""From assessments to the figures that a recipe sets floors for, and to the report."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from offline.corner_cases.prediction import predict
from offline.counterexamples import Counterexamples
from offline.evaluation.assessment import Assessment
from offline.evaluation.detection import roc_auc
from offline.evaluation.distortion import DistortionCurve, detection_under_distortion
from offline.evaluation.inspection import inspect
from offline.evaluation.report_data import (
    BundleFacts,
    Measure,
    ReportData,
    corner_case_examples,
)
from offline.evaluation.settings import Floors

__all__ = ["measures_of", "report_of"]

NAMES = {
    "clean_accuracy": "clean accuracy",
    "robust_accuracy": "accuracy under PGD",
    "counterexample_cost": "accuracy that semantic counterexamples cost",
    "counterexample_accuracy": "accuracy under the semantic attack",
    "stored_counterexample_accuracy": "accuracy on the trained model's counterexamples",
    "corner_case_auc": "ROC-AUC, natural corner cases",
    "corner_case_detection": "natural corner cases detected",
    "counterexample_auc": "ROC-AUC, semantic counterexamples",
    "false_alarms_at_most": "false alarms on clean images",
}


def measures_of(before: Assessment, after: Assessment, floors: Floors) -> dict[str, Measure]:
    """Return each figure by its key in `Floors`; one that was not measured has no floor to miss.

    `after` is the released model, the same object as `before` where nothing hardened the model.
    """
    first, second = _figures(before), _figures(after)
    stored = before.counterexamples
    if stored is not None:
        first["stored_counterexample_accuracy"] = first["counterexample_accuracy"]
        second["stored_counterexample_accuracy"] = _accuracy_on(after.guarded.model, stored)
        # What is shown is that the attack works: on the model that nothing has hardened.
        second["counterexample_cost"] = first.pop("counterexample_cost")
    return {
        key: Measure(
            name=name,
            before=first.get(key) if after is not before else None,
            after=second[key],
            floor=getattr(floors, key),
            at_most=key.endswith("_at_most"),
            pattern="{:.4f}" if key.endswith("_auc") else "{:.2%}",
        )
        for key, name in NAMES.items()
        if second.get(key) is not None or getattr(floors, key) is not None
    }


def report_of(
    name: str,
    before: Assessment,
    after: Assessment,
    measures: Mapping[str, Measure],
    classes: tuple[str, ...],
    steps: int,
) -> ReportData:
    """Gather what the assessments show; the examples are the first ones found.

    `steps` is the number of strengths in the picture of detection under distortion; 0: no picture.
    What the run knows beside them (attack, training, recipe, versions) is for the caller to add.
    """
    detector = after.guarded.detector
    return ReportData(
        name=name,
        measures=tuple(measures.values()),
        corner_cases=tuple(
            corner_case_examples(
                cases, after.seeds, classes, valid=inspect(after.guarded, cases.images).valid
            )
            for cases in after.corner_cases.kept
        ),
        dropped=after.corner_cases.dropped,
        detection=after.detection,
        threshold=detector.threshold.item(),
        distortion=_distortion(after, steps) if steps else None,
        clean=after.clean,
        bundle=BundleFacts(
            layers=detector.layers,
            threshold=detector.threshold.item(),
            false_alarm_rate=detector.false_alarm_rate,
            calibration_size=len(detector.calibration),
            files={},
        ),
    )


def _figures(assessed: Assessment) -> dict[str, float | None]:
    found, overall = assessed.counterexamples, assessed.detection.overall
    figures: dict[str, float | None] = {
        "clean_accuracy": assessed.clean.value,
        "robust_accuracy": None if assessed.robust is None else assessed.robust.value,
        "corner_case_auc": overall.auc,
        "corner_case_detection": None if overall.detected is None else overall.detected.value,
        "false_alarms_at_most": assessed.detection.false_alarms.realised.value,
    }
    if found is not None:
        counts = found.figures()
        images = _as_images(found.images_after[found.success])
        scores = inspect(assessed.guarded, images).scores.numpy()
        figures["counterexample_accuracy"] = counts["accuracy_after"]
        figures["counterexample_cost"] = counts["accuracy_before"] - counts["accuracy_after"]
        figures["counterexample_auc"] = roc_auc(assessed.detection.clean_scores, scores)
    return figures


def _accuracy_on(model: nn.Module, found: Counterexamples) -> float:
    labels = predict(model, _as_images(found.images_after)).labels
    return (labels == found.labels).double().mean().item()


def _distortion(after: Assessment, steps: int) -> tuple[DistortionCurve, ...]:
    return tuple(
        detection_under_distortion(
            after.guarded, after.seeds, cases.name, border=cases.deformation.border, steps=steps
        )
        for cases in after.corner_cases.kept
        if len(cases.deformation.steps) == 1 and cases.name != "complement"
    )


def _as_images(pixels: Tensor) -> Float[Tensor, "..."]:
    return pixels.float() / 255
