"""The pictures of the release report, section by section; each says in words what it shows."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from offline.evaluation.detection import Detection
from offline.evaluation.figures_in_words import percent
from offline.evaluation.pictures import Chart, Gallery, Thumbnail
from offline.evaluation.plots import plot_distortion, plot_training
from offline.evaluation.rates import Rate
from offline.evaluation.report_data import (
    CornerCaseExample,
    CornerCaseExamples,
    CounterexampleShown,
    ReportData,
)
from offline.evaluation.score_plots import plot_histogram, plot_roc, plot_validators

__all__ = ["Illustrations", "illustrate"]


@dataclass
class Illustrations:
    """The pictures of each section."""

    counterexamples: list[tuple[CounterexampleShown, list[Thumbnail], float]]
    corner_cases: list[tuple[CornerCaseExamples, list[tuple[CornerCaseExample, Any, Any]]]]
    detection: list[Chart] = field(default_factory=list)
    distortion: list[Chart] = field(default_factory=list)
    training: list[Chart] = field(default_factory=list)


def illustrate(data: ReportData, gallery: Gallery) -> Illustrations:
    """Draw the pictures of the sections that `data` has, into the gallery."""
    shown = Illustrations(
        [_counterexample(gallery, entry) for entry in data.counterexamples or ()],
        [(kind, _examples(gallery, kind)) for kind in data.corner_cases or ()],
    )
    if data.detection:
        shown.detection = _detection(gallery, data.detection, data.threshold)
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
        shown.distortion.append(gallery.chart(fill, alt=alt, caption=curve.name))
    for training in data.training or ():
        ends = "; ".join(f"{n} ends at {v[-1]:.3g}" for n, v in training.series.items() if len(v))
        alt = f"{training.title}, {training.quantity} by epoch: {ends}."
        shown.training.append(
            gallery.chart(plot_training(training), alt=alt, caption=training.title)
        )
    return shown


def _counterexample(
    gallery: Gallery, entry: CounterexampleShown
) -> tuple[CounterexampleShown, list[Thumbnail], float]:
    changed = ", ".join(entry.changed) or "the scene"
    original = gallery.thumbnail(
        entry.original,
        f"Original image of class {entry.label}, taken for {entry.original_prediction}",
    )
    found = gallery.thumbnail(
        entry.counterexample, f"The same after {changed} changed, taken for {entry.prediction}"
    )
    difference, largest = gallery.difference(
        entry.original, entry.counterexample, "Difference of the two; grey is no change"
    )
    return entry, [original, found, difference], largest


def _examples(
    gallery: Gallery, kind: CornerCaseExamples
) -> list[tuple[CornerCaseExample, Thumbnail, Thumbnail]]:
    return [
        (
            example,
            gallery.thumbnail(example.original, f"Original image of class {example.label}"),
            gallery.thumbnail(
                example.deformed, f"The same under {kind.name}, taken for {example.prediction}"
            ),
        )
        for example in kind.examples
    ]


def _detection(gallery: Gallery, found: Detection, threshold: float | None) -> list[Chart]:
    charts = []
    curves = found.curves()
    if curves:
        areas = ", ".join(f"{name} {curve.auc:.3f}" for name, curve in curves.items())
        alarms = found.false_alarms.realised.value
        for furthest, caption in ((1.0, "ROC curves"), (0.2, "ROC curves, false alarms to 20%")):
            alt = f"{caption} of the joint discrepancy. Areas: {areas}."
            fill = plot_roc(curves, alarms, furthest)
            charts.append(gallery.chart(fill, alt=alt, caption=caption))
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
    charts.append(gallery.chart(plot_histogram(found, threshold), alt=alt, caption=caption))
    known = {
        name: area
        for name, area in zip(found.layers, found.overall.auc_by_layer, strict=True)
        if area is not None
    }
    if known:
        areas = ", ".join(f"{name} {area:.3f}" for name, area in known.items())
        alt = f"Overall area under the ROC curve of each single validator: {areas}."
        charts.append(
            gallery.chart(plot_validators(found), alt=alt, caption="Single validators and joint")
        )
    return charts


def _share(found: Rate | None) -> str:
    return percent(found.value) if found else "none"
