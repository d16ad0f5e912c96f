"""How well the validators tell corner cases from clean images: section 3.4.4, Table 3.6.

Positives are corner cases, negatives clean images, the score is the joint discrepancy or one
layer's. Successful corner cases (SCC, the model errs) are the target; failed ones (FCC) are counted
apart. Whether the model errs is judged by the label of the guarded model itself.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor, nn

from guard.errors import BadInput
from offline.corner_cases import CornerCases
from offline.datasets import ImageSet
from offline.evaluation.inspection import Inspection, inspect, inspect_set
from offline.evaluation.rates import FalseAlarms, Rate, false_alarms, rate

__all__ = ["CornerCaseDetection", "Detection", "Roc", "evaluate_detection", "roc", "roc_auc"]

Scores = Float[np.ndarray, " _"]


class Roc(NamedTuple):
    """False-alarm rate against detection rate, both from 0 to 1, and the area below."""

    false_alarm_rate: Float[np.ndarray, " point"]
    detection_rate: Float[np.ndarray, " point"]
    auc: float


@dataclass(frozen=True)
class CornerCaseDetection:
    """Detection of one kind of corner case, or of all kinds together (`overall`).

    The areas compare with the clean images; each is None where there is no such corner case.

    Attributes:
        name: the transformation.
        configuration: its parameters.
        success_rate: the share of these images that the model gets wrong.
        auc: area under the ROC curve of the joint discrepancy, SCCs.
        auc_failed: the same for FCCs.
        auc_by_layer: the same as `auc` for each single validator.
        detected: SCCs above the threshold.
        detected_failed: FCCs above the threshold.
    """

    name: str
    configuration: str
    success_rate: float | None
    auc: float | None
    auc_failed: float | None
    auc_by_layer: tuple[float | None, ...]
    detected: Rate | None
    detected_failed: Rate | None


@dataclass(frozen=True, eq=False)
class Detection:
    """Table 3.6 for one guarded model, the figures at its threshold, and the scores behind them.

    The scores are joint discrepancies: of the clean images, and by transformation of SCCs and FCCs.
    """

    layers: tuple[str, ...]
    corner_cases: tuple[CornerCaseDetection, ...]
    overall: CornerCaseDetection
    false_alarms: FalseAlarms
    clean_scores: Scores
    successful_scores: dict[str, Scores]
    failed_scores: dict[str, Scores]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures, without the scores, as values that JSON knows."""
        return {
            "layers": list(self.layers),
            "corner_cases": [asdict(entry) for entry in self.corner_cases],
            "overall": asdict(self.overall),
            "false_alarms": asdict(self.false_alarms),
        }

    def curves(self) -> dict[str, Roc]:
        """Return the ROC curve of each transformation that has SCCs, and `overall`."""
        pooled = {"overall": np.concatenate([np.zeros(0), *self.successful_scores.values()])}
        groups = self.successful_scores | pooled
        return {name: roc(self.clean_scores, found) for name, found in groups.items() if len(found)}


def evaluate_detection(
    guarded: nn.Module,
    clean: ImageSet,
    corner_cases: Sequence[CornerCases],
    *,
    layers: Sequence[str],
    false_alarm_rate: float,
    calibration_size: int,
) -> Detection:
    """Measure a `GuardedClassifier` on clean test images and on corner cases made of such.

    Args:
        guarded: its forward returns label, discrepancy [batch, layer], score and valid.
        clean: images that took no part in training, fitting or calibration.
        corner_cases: what the search kept.
        layers: the names of the single validators.
        false_alarm_rate: what the threshold was calibrated for.
        calibration_size: on how many clean images.

    Raises:
        BadInput: there are not as many names as single validators.
    """
    normal = inspect_set(guarded, clean)
    if normal.discrepancy.shape[1] != len(layers):
        raise BadInput(
            f"{len(layers)} layer names for {normal.discrepancy.shape[1]} single validators"
        )
    found = [inspect(guarded, cases.images) for cases in corner_cases]
    errs = [seen.labels != cases.labels for seen, cases in zip(found, corner_cases, strict=True)]
    everything = Inspection(
        *(torch.cat([first[:0], *rest]) for first, *rest in zip(normal, *found, strict=True))
    )
    return Detection(
        layers=tuple(layers),
        corner_cases=tuple(
            _measure(cases.name, cases.deformation.describe(), normal, seen, err)
            for cases, seen, err in zip(corner_cases, found, errs, strict=True)
        ),
        overall=_measure("overall", "", normal, everything, torch.cat([normal.valid[:0], *errs])),
        false_alarms=false_alarms(
            int((~normal.valid).sum()), len(clean), false_alarm_rate, calibration_size
        ),
        clean_scores=normal.scores.numpy(),
        successful_scores=_scores(corner_cases, found, errs),
        failed_scores=_scores(corner_cases, found, [~err for err in errs]),
    )


def roc_auc(clean: Scores, corner: Scores) -> float | None:
    """Return the chance that a corner case scores above a clean image, ties counted half.

    None when there are no corner cases.
    """
    if not len(corner):
        return None
    return float(roc_auc_score(*_labelled(clean, corner)))


def roc(clean: Scores, corner: Scores) -> Roc:
    """Return the ROC curve; both kinds must be there."""
    false_alarm_rate, detection_rate, _ = roc_curve(*_labelled(clean, corner))
    return Roc(false_alarm_rate, detection_rate, float(roc_auc_score(*_labelled(clean, corner))))


def _measure(
    name: str, configuration: str, normal: Inspection, seen: Inspection, errs: Tensor
) -> CornerCaseDetection:
    clean, scores = normal.scores.numpy(), seen.scores.numpy()
    err = errs.numpy()
    return CornerCaseDetection(
        name=name,
        configuration=configuration,
        success_rate=float(err.mean()) if len(err) else None,
        auc=roc_auc(clean, scores[err]),
        auc_failed=roc_auc(clean, scores[~err]),
        auc_by_layer=tuple(
            roc_auc(single.numpy(), layer.numpy()[err])
            for single, layer in zip(normal.discrepancy.T, seen.discrepancy.T, strict=True)
        ),
        detected=rate(int((errs & ~seen.valid).sum()), int(errs.sum())),
        detected_failed=rate(int((~errs & ~seen.valid).sum()), int((~errs).sum())),
    )


def _scores(
    corner_cases: Sequence[CornerCases], found: list[Inspection], chosen: list[Tensor]
) -> dict[str, Scores]:
    return {
        cases.name: seen.scores[mask].numpy()
        for cases, seen, mask in zip(corner_cases, found, chosen, strict=True)
    }


def _labelled(clean: Scores, corner: Scores) -> tuple[Scores, Scores]:
    truth = np.concatenate([np.zeros(len(clean)), np.ones(len(corner))])
    return truth, np.concatenate([clean, corner])
