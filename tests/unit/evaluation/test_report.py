from dataclasses import replace
from io import StringIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from html_pages import Page
from PIL import Image
from report_samples import HOSTILE, MEASURES, cases, full_report, seeds
from rich.console import Console

from offline.evaluation.console import detection_table, measures_table
from offline.evaluation.image_arrays import difference
from offline.evaluation.pictures import PictureFolder
from offline.evaluation.report import write_report
from offline.evaluation.report_data import Measure, ReportData, corner_case_examples
from offline.evaluation.robustness import Accuracy

SECTIONS = {
    "counterexamples": "counterexamples",
    "detection": "detection",
    "distortion": "distortion",
    "training": "training",
    "clean": "classes",
    "bundle": "bundle",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_report(tmp_path_factory.mktemp("report"), full_report()).parent


@pytest.fixture(scope="module")
def page(folder) -> Page:
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def test_every_picture_is_there_and_every_file_is_shown(folder, page):
    shown = set(page.files)
    assert shown == {f"pictures/{path.name}" for path in (folder / "pictures").iterdir()}
    assert len(shown) > 12
    for name in shown:
        with Image.open(folder / name) as image:
            image.load()
            assert image.format == "PNG"


def test_nothing_comes_from_elsewhere_and_nothing_runs(page):
    page.assert_self_contained()
    assert not page.tags & {"script", "form"}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_shown_as_they_are(page, name):
    assert " ".join(name.split()) in page.text


def test_the_recipe_cannot_close_its_own_frame(page):
    assert "name: </pre><script>alert(3)</script>" in page.text


def test_every_picture_says_what_it_shows(page):
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert all(len(attributes["alt"]) > 20 for attributes in images)
    assert all(int(attributes["width"]) and int(attributes["height"]) for attributes in images)


def test_links_lead_to_sections(page):
    links = {link[1:] for link in page.links if link.startswith("#")}
    assert links == page.ids
    assert set(SECTIONS.values()) | {"summary", "corner-cases", "recipe"} == links


@pytest.mark.parametrize("part", SECTIONS)
def test_a_section_without_content_is_left_out(tmp_path, folder, page, part):
    without = replace(_bare(), **{part: getattr(full_report(), part)})
    only = Page(write_report(tmp_path, without).read_text(encoding="utf-8"))
    assert only.ids == {"summary", SECTIONS[part]}
    assert set(only.files) == {f"pictures/{p.name}" for p in (tmp_path / "pictures").iterdir()}


def test_a_bare_report_has_no_pictures(tmp_path):
    page = Page(write_report(tmp_path / "deep" / "report", _bare()).read_text(encoding="utf-8"))
    assert page.ids == {"summary"}
    assert page.files == []


def test_writing_again_leaves_no_old_picture(tmp_path):
    write_report(tmp_path, replace(_bare(), training=full_report().training))
    assert len(list((tmp_path / "pictures").iterdir())) == 2
    write_report(tmp_path, _bare())
    assert list((tmp_path / "pictures").iterdir()) == []


def test_verdicts_and_figures_are_in_the_summary(page):
    assert "1 of 2 floors missed: False alarms" in page.text
    assert "Clean accuracy 90.0% 95.0% ≥ 90.0% ✓ met" in page.text
    assert "False alarms – 20.0% ≤ 10.0% ✗ missed" in page.text
    assert "1.23 MB" in page.text
    assert "2 of 40 clean images (5.0%) were called corner cases" in page.text


@pytest.mark.parametrize(
    ("measure", "holds"),
    [
        (Measure("a", None, 0.5), None),
        (Measure("a", None, 0.5, floor=0.5), True),
        (Measure("a", None, 0.49, floor=0.5), False),
        (Measure("a", None, 0.5, floor=0.5, at_most=True), True),
        (Measure("a", None, 0.51, floor=0.5, at_most=True), False),
        (Measure("a", 0.9, None, floor=0.5), False),
    ],
)
def test_a_floor_holds(measure, holds):
    assert measure.holds is holds


@pytest.mark.parametrize(("count", "has_table"), [(20, True), (21, False)])
def test_many_classes_are_shown_by_their_mistakes_alone(tmp_path, count, has_table):
    confusion = np.eye(count, dtype=int) * 5
    confusion[3, 7] = 5
    names = {f"class {number}": 1.0 for number in range(count)}
    table = tuple(tuple(row) for row in confusion.tolist())
    clean = Accuracy(5 * count, 5 * count + 5, 0.9, 0.9, names, table)
    page = Page(write_report(tmp_path, replace(_bare(), clean=clean)).read_text(encoding="utf-8"))
    assert "class 3 class 7 5 50.0%" in page.text
    tables = [a for tag, a in page.elements if tag == "table" and a.get("class") == "confusion"]
    assert len(tables) == has_table


def test_drawing_leaves_matplotlib_as_it_was(tmp_path):
    before = dict(mpl.rcParams)
    write_report(tmp_path, replace(_bare(), training=full_report().training))
    assert dict(mpl.rcParams) == before


def test_difference_is_grey_where_nothing_changed():
    before = np.full((1, 1, 3), 0.5, dtype=np.float32)
    after = np.array([[[0.5, 0.75, 0.375]]], dtype=np.float32)
    shown, amplification = difference(before, after)
    assert amplification == 4
    assert shown.tolist() == [[[0.5, 1, 0.25]]]
    same, amplification = difference(before, before)
    assert amplification == 1
    assert same.tolist() == before.tolist()


@pytest.mark.parametrize(
    ("size", "shown"), [((28, 28), (112, 112)), ((64, 48), (96, 128)), ((320, 640), (160, 80))]
)
def test_small_images_are_shown_by_whole_multiples(tmp_path, size, shown):
    found = PictureFolder(tmp_path).thumbnail(np.zeros((3, *size), dtype=np.float32), "black")
    assert (found.width, found.height) == shown


def test_examples_show_successful_corner_cases_first():
    valid = torch.tensor([True, False, True, True])
    found = corner_case_examples(cases(), seeds(), HOSTILE, valid=valid, limit=3)
    assert [(e.label, e.prediction, e.flagged) for e in found.examples] == [
        (HOSTILE[1], HOSTILE[2], True),
        (HOSTILE[0], HOSTILE[1], False),
        (HOSTILE[0], HOSTILE[0], False),
    ]
    assert found.success_rate == 0.5
    np.testing.assert_allclose(found.examples[0].deformed, 1 - found.examples[0].original)


def test_tables_for_the_terminal():
    written = StringIO()
    console = Console(width=100, file=written)
    console.print(measures_table(MEASURES))
    console.print(detection_table(full_report().detection))
    lines = written.getvalue().splitlines()
    rows = [" ".join(line.replace("│", " ").split()) for line in lines]
    assert "Clean accuracy 90.0% 95.0% ≥ 90.0% ✓ met" in rows
    assert "False alarms – 20.0% ≤ 10.0% ✗ missed" in rows
    assert any(row.startswith("scale (s_x, s_y) = (0.5, 0.5) 60.0% 0.") for row in rows)
    assert any(row.startswith("overall") for row in rows)


def _bare() -> ReportData:
    return ReportData("mnist", (Measure("Clean accuracy", None, 0.993),))
