"""The release report: one HTML page and its pictures, readable without a network or scripts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from guard.storage import replace_directory, write_text
from offline.evaluation.detection import Detection
from offline.evaluation.pictures import Chart, Gallery, Thumbnail
from offline.evaluation.plots import plot_distortion, plot_training
from offline.evaluation.rates import Rate
from offline.evaluation.report_data import (
    CornerCaseExample,
    CornerCaseExamples,
    CounterexampleShown,
    ReportData,
)
from offline.evaluation.robustness import Accuracy
from offline.evaluation.score_plots import plot_histogram, plot_roc, plot_validators

__all__ = ["write_report"]

PICTURES = "pictures"
MOST_CELLS = 20
MOST_CONFUSIONS = 12


def write_report(folder: Path, data: ReportData) -> Path:
    """Write `folder`/index.html and its pictures; parts of `data` that are None are left out.

    Every text of `data` is escaped, and the page refers to nothing outside the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with replace_directory(folder / PICTURES) as pictures:
        shown = _draw(Gallery(pictures), data)
    environment = Environment(
        loader=PackageLoader("offline.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=_percent, area=_area, size=_size)
    page = environment.get_template("report.html.j2").render(
        data=data, shown=shown, pictures=PICTURES, confusion=_confusion(data.clean)
    )
    write_text(folder / "index.html", page)
    return folder / "index.html"


@dataclass
class _Shown:
    """The pictures of each section."""

    counterexamples: list[tuple[CounterexampleShown, list[Thumbnail], float]]
    corner_cases: list[tuple[CornerCaseExamples, list[tuple[CornerCaseExample, Any, Any]]]]
    detection: list[Chart] = field(default_factory=list)
    distortion: list[Chart] = field(default_factory=list)
    training: list[Chart] = field(default_factory=list)


def _draw(gallery: Gallery, data: ReportData) -> _Shown:
    shown = _Shown(
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
            f"{_percent(last.success_rate)} are misclassified; "
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


def _confusion(clean: Accuracy | None) -> dict[str, Any]:
    """Return the whole table where it is small enough to read, and the most frequent mistakes."""
    if clean is None:
        return {"rows": [], "mistakes": []}
    names = list(clean.by_class)
    sums = [sum(row) or 1 for row in clean.confusion]
    mistakes = sorted(
        (
            (count, names[true], names[guess], count / sums[true])
            for true, row in enumerate(clean.confusion)
            for guess, count in enumerate(row)
            if true != guess and count
        ),
        reverse=True,
    )
    rows = [
        (name, [(count, count / total) for count in row])
        for name, row, total in zip(names, clean.confusion, sums, strict=True)
    ]
    return {
        "rows": rows if len(names) <= MOST_CELLS else [],
        "mistakes": mistakes[:MOST_CONFUSIONS],
    }


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}%}"


def _share(found: Rate | None) -> str:
    return _percent(found.value) if found else "none"


def _area(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _size(count: int) -> str:
    shown = float(count)
    for unit in ("B", "kB", "MB"):
        if shown < 1000:
            return f"{shown:.3g} {unit}"
        shown /= 1000
    return f"{shown:.3g} GB"
