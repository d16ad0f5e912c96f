"""The release report: one HTML page and its pictures, readable without a network or scripts."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from guard.storage import replace_directory, write_text
from offline.evaluation.figures_in_words import area, percent, size
from offline.evaluation.illustrations import illustrate
from offline.evaluation.pictures import Gallery
from offline.evaluation.report_data import ReportData
from offline.evaluation.robustness import Accuracy

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
        shown = illustrate(data, Gallery(pictures))
    environment = Environment(
        loader=PackageLoader("offline.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, area=area, size=size)
    page = environment.get_template("report.html.j2").render(
        data=data, shown=shown, pictures=PICTURES, confusion=_confusion(data.clean)
    )
    write_text(folder / "index.html", page)
    return folder / "index.html"


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
