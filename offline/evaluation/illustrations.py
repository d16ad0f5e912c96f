"""The pictures of the release report, section by section; each says in words what it shows."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from offline.evaluation.detection import Detection
from offline.evaluation.figures_in_words import percent
from offline.evaluation.gallery import Card, draw_cards
from offline.evaluation.pictures import Chart, PictureFolder, Thumbnail
from offline.evaluation.plots import plot_distortion, plot_training
from offline.evaluation.rates import Rate
from offline.evaluation.report_data import (
    CornerCaseExample,
    CornerCaseExamples,
    ReportData,
)
from offline.evaluation.score_plots import plot_histogram, plot_roc, plot_validators

__all__ = ["Illustrations", "illustrate"]


@dataclass
class Illustrations:
    """The pictures of each section."""

    counterexamples: list[Card]
    corner_cases: list[tuple[CornerCaseExamples, list[tuple[CornerCaseExample, Any, Any]]]]
    detection: list[Chart] = field(default_factory=list)
    distortion: list[Chart] = field(default_factory=list)
    training: list[Chart] = field(default_factory=list)


def illustrate(data: ReportData, folder: PictureFolder) -> Illustrations:
    """Draw the pictures of the sections that `data` has, into the folder."""
    shown = Illustrations(
        draw_cards(data.counterexamples or (), folder),
        [(kind, _examples(folder, kind)) for kind in data.corner_cases or ()],
    )
    if data.detection:
        shown.detection = _detection(folder, data.detection, data.threshold)
    alarms = data.detection.false_alarms.realised.value if data.detection else None
    for curve in data.distortion or ():
        last = curve.points[-1]
        alt = (
            f"Detection under growing {curve.name}: at the last strength "
            f"{percent(last.success_rate)} are misclassified; "
            f"{_share(last.detected)} of the successful and "
            f"{_share(last.detected_failed)} of the failed "
            "corner cases are detected."
        )
        fill = plot_distortion(curve, alarms)
        shown.distortion.append(folder.chart(fill, alt=alt, caption=curve.name))
    for training in data.training or ():
        ends = "; ".join(f"{n} ends at {v[-1]:.3g}" for n, v in training.series.items() if len(v))
        alt = f"{training.title}, {training.quantity} by epoch: {ends}."
        shown.training.append(
            folder.chart(plot_training(training), alt=alt, caption=training.title)
        )
    return shown


def _examples(
    folder: PictureFolder, kind: CornerCaseExamples
) -> list[tuple[CornerCaseExample, Thumbnail, Thumbnail]]:
    return [
        (
            example,
            folder.thumbnail(example.original, f"Original image of class {example.label}"),
            folder.thumbnail(
                example.deformed, f"The same under {kind.name}, taken for {example.prediction}"
            ),
        )
        for example in kind.examples
    ]


def _detection(folder: PictureFolder, found: Detection, threshold: float | None) -> list[Chart]:
    charts = []
    curves = found.curves()
    if curves:
        areas = ", ".join(f"{name} {curve.auc:.3f}" for name, curve in curves.items())
        alarms = found.false_alarms.realised.value
        for furthest, caption in ((1.0, "ROC curves"), (0.2, "ROC curves, false alarms to 20%")):
            alt = f"{caption} of the joint discrepancy. Areas: {areas}."
            fill = plot_roc(curves, alarms, furthest)
            charts.append(folder.chart(fill, alt=alt, caption=caption))
    middles = [f"clean images {np.median(found.clean_scores):.3g}"]
    for word, groups in (
        ("successful", found.successful_scores),
        ("failed", found.failed_scores),
    ):
        scores = np.concatenate([np.zeros(0), *groups.values()])
        if len(scores):
            middles.append(f"{word} corner cases {np.median(scores):.3g}")
    alt = f"Histograms of the joint discrepancy. Medians: {', '.join(middles)}."
    caption = "Joint discrepancy, 200 bins"
    charts.append(folder.chart(plot_histogram(found, threshold), alt=alt, caption=caption))
    known = {
        name: area
        for name, area in zip(found.layers, found.overall.auc_by_layer, strict=True)
        if area is not None
    }
    if known:
        areas = ", ".join(f"{name} {area:.3f}" for name, area in known.items())
        alt = f"Overall area under the ROC curve of each single validator: {areas}."
        charts.append(
            folder.chart(plot_validators(found), alt=alt, caption="Single validators and joint")
        )
    return charts


def _share(found: Rate | None) -> str:
    return percent(found.value) if found else "none"
