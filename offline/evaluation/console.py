"""The figures of a run as tables for the terminal."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from offline.evaluation.detection import CornerCaseDetection, Detection
from offline.evaluation.figures_in_words import area, percent
from offline.evaluation.report_data import Measure

__all__ = ["detection_table", "measures_table"]


def measures_table(measures: Sequence[Measure]) -> Table:
    """Lay out the figures: name, before, after, floor and verdict."""
    table = Table(title="Figures", title_justify="left")
    table.add_column("figure")
    for heading in ("before", "after", "floor"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for measure in measures:
        sign = "≤" if measure.at_most else "≥"
        table.add_row(
            Text(measure.name),
            measure.written(measure.before),
            measure.written(measure.after),
            "" if measure.floor is None else f"{sign} {measure.written(measure.floor)}",
            _verdict(measure.holds),
        )
    return table


def detection_table(detection: Detection) -> Table:
    """Lay out ROC-AUC and detection rate for each corner case and overall."""
    table = Table(title="Corner cases", title_justify="left")
    table.add_column("transformation")
    table.add_column("configuration")
    for heading in ("misclassified", "ROC-AUC", "detected"):
        table.add_column(heading, justify="right")
    for entry in detection.corner_cases:
        table.add_row(*_row(entry))
    table.add_section()
    table.add_row(*_row(detection.overall), style="bold")
    return table


def _row(entry: CornerCaseDetection) -> tuple[Text | str, ...]:
    return (
        Text(entry.name),
        Text(entry.configuration),
        percent(entry.success_rate),
        area(entry.auc),
        percent(entry.detected.value if entry.detected else None),
    )


def _verdict(holds: bool | None) -> Text:
    if holds is None:
        return Text("")
    return Text("✓ met", style="green") if holds else Text("✗ missed", style="bold red")
