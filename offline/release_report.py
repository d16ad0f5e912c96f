"""The report of a run: figures against floors, tables for the terminal, the page with pictures."""

import dataclasses
import io
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from guard.storage import write_json, write_text
from offline.counterexamples.measures.attack_measures import attack_measures
from offline.counterexamples.measures.realism import Realism, measure_realism
from offline.evaluation.assessment import Assessment
from offline.evaluation.console import detection_table, measures_table
from offline.evaluation.counterexamples_shown import AttackShown, shown_counterexamples
from offline.evaluation.report import write_report
from offline.evaluation.report_data import Measure, TrainingCurve
from offline.evaluation.summary import measures_of, report_of
from offline.models import device_of
from offline.recipe import Recipe

__all__ = ["write_release_report"]

PACKAGES = ("cornerguard", "torch", "torchvision", "scikit-learn", "numpy", "onnx")


def write_release_report(
    folder: Path,
    recipe: Recipe,
    recipe_text: str,
    before: Assessment,
    after: Assessment,
    classes: tuple[str, ...],
    histories: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write index.html, the gallery, pictures, figures.json, and figures.txt as terminals show it.

    Args:
        folder: where they are written.
        recipe: its name, floors and settings of the evaluation.
        recipe_text: the recipe as it was read.
        before: the trained model.
        after: the released one; the same object where nothing hardened the model.
        classes: their names.
        histories: what each training came to, by its title.
    """
    realism = _realism(recipe, before, len(classes))
    measures = measures_of(before, after, recipe.floors)
    data = report_of(recipe.name, before, after, measures, classes, recipe.evaluate.distortion)
    curves = tuple(
        TrainingCurve(title, "loss", {"mean loss of the epoch": history["losses"]})
        for title, history in histories.items()
        if history["losses"]
    )
    data = dataclasses.replace(
        data,
        counterexamples=_attacks(recipe, before, after, classes, realism),
        training=curves or None,
        recipe=recipe_text,
        versions=_versions(),
    )
    write_report(folder, data)
    tables = io.StringIO()
    page = Console(file=tables, width=100)
    page.print(measures_table(data.measures), detection_table(after.detection), sep="\n")
    for dropped in after.corner_cases.dropped:
        page.print(f"no {dropped.name}: {dropped.reason}", highlight=False, markup=False)
    write_text(folder / "figures.txt", tables.getvalue())
    figures = {name: _plain(measure) for name, measure in measures.items()}
    rows = {"figures": figures, "detection": after.detection.as_dict()}
    rows["corner_cases"] = {"kept": [cases.summary() for cases in after.corner_cases.kept]}
    if before.counterexamples is not None:
        rows["counterexamples"] = attack_measures(
            before.guarded.model, before.counterexamples, realism
        )
    write_json(folder / "figures.json", rows)


def _attacks(
    recipe: Recipe,
    before: Assessment,
    after: Assessment,
    classes: tuple[str, ...],
    realism: Realism | None,
) -> tuple[AttackShown, ...] | None:
    """Return what the recipe's attack found, and what the hardened model, if there is one, says."""
    settings, found = recipe.counterexamples, before.counterexamples
    if settings is None or found is None:
        return None
    hardened = None if after is before else after.guarded.model
    lpips = None if realism is None else realism.lpips
    return (shown_counterexamples(settings.attack, found, classes, hardened=hardened, lpips=lpips),)


def _realism(recipe: Recipe, assessed: Assessment, classes: int) -> Realism | None:
    """Return how real the counterexamples look, where the recipe asks for it."""
    found, settings = assessed.counterexamples, recipe.evaluate.realism
    if found is None or settings is None:
        return None
    device = device_of(assessed.guarded.model)
    pairs = found.images_before, found.images_after
    return measure_realism(*pairs, found.labels, classes, settings, device)


def _plain(measure: Measure) -> dict[str, Any]:
    kept = {"before": measure.before, "after": measure.after, "floor": measure.floor}
    return {**kept, "at_most": measure.at_most, "holds": measure.holds}


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
