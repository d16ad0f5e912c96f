"""The release report: a page, the gallery of counterexamples, and pictures; without a network."""

from pathlib import Path
from typing import Any

from guard.storage import replace_directory, write_text
from offline.evaluation.gallery import GALLERY, gallery_page
from offline.evaluation.illustrations import illustrate
from offline.evaluation.pages import PICTURES, page
from offline.evaluation.pictures import PictureFolder
from offline.evaluation.report_data import ReportData
from offline.evaluation.robustness import Accuracy

__all__ = ["write_report"]

INDEX = "index.html"
MOST_CARDS = 12
MOST_CELLS = 20
MOST_CONFUSIONS = 12


def write_report(folder: Path, data: ReportData) -> Path:
    """Write `folder`/index.html, the gallery and the pictures; what `data` lacks is left out.

    Every text of `data` is escaped, and the pages refer to nothing outside the folder. The report
    runs no script, and the gallery only its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with replace_directory(folder / PICTURES) as pictures:
        shown = illustrate(data, PictureFolder(pictures))
    cards = shown.counterexamples
    if data.counterexamples and cards:
        text = gallery_page(data.name, data.counterexamples, cards, INDEX)
        write_text(folder / GALLERY, text)
    else:
        (folder / GALLERY).unlink(missing_ok=True)
    report = page(
        "report.html.j2",
        data=data,
        shown=shown,
        gallery=GALLERY,
        most_cards=MOST_CARDS,
        still_fooled=sum(1 for card in cards if card.fools_hardened),
        confusion=_confusion(data.clean),
    )
    write_text(folder / INDEX, report)
    return folder / INDEX


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
