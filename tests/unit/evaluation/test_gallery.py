import base64
import hashlib
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from html_pages import Page
from PIL import Image
from report_samples import HOSTILE, attacks

from guard.errors import BadInput
from offline.evaluation.counterexamples_shown import AttackShown, in_turn
from offline.evaluation.gallery import write_gallery
from offline.evaluation.report import write_report
from offline.evaluation.report_data import Measure, ReportData

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PICTURE = np.random.default_rng(0).random((3, 8, 8), dtype=np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_gallery(tmp_path_factory.mktemp("gallery"), HOSTILE[0], attacks(PICTURE))


@pytest.fixture(scope="module")
def page(path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def cards(page: Page) -> list[dict[str, str | None]]:
    return [attributes for _, attributes in page.elements if "data-number" in attributes]


def test_every_attack_has_its_turn(page):
    one, two = attacks(PICTURE)
    assert in_turn((one, two)) == [
        (one, one.examples[0]),
        (two, two.examples[0]),
        (one, one.examples[1]),
    ]
    assert [each["data-attack"] for each in cards(page)] == [HOSTILE[0], "sCW", HOSTILE[0]]


def test_cards_say_what_they_are_sorted_by(page):
    one, two, three = cards(page)
    assert one == {
        "class": "card",
        "id": "n1",
        "data-number": "1",
        "data-class": HOSTILE[0],
        "data-attack": HOSTILE[0],
        "data-taken": HOSTILE[1],
        "data-confidence": "0.800000",
        "data-distance": "0.250000",
        "data-lpips": "0.125000",
        "data-hardened": "right",
    }
    assert (two["data-lpips"], two["data-hardened"], two["data-distance"]) == ("", "", "0.500000")
    assert (three["data-class"], three["data-taken"]) == (HOSTILE[1], HOSTILE[2])


def test_a_card_shows_everything(page):
    words = " ".join(page.text.split())
    first = words.split("sCW original")[0]
    for shown in (
        "original <script>alert(1)</script> 90% ✓ right",
        'counterexample x" onerror="alert(2) 80% ✗ wrong',
        "after hardening <script>alert(1)</script> 70% ✓ right",
        "$\\frac{$ & 'quoted' x +3.0°",
        "distance 0.25",
        "realism (LPIPS) 0.125",
        "difference × 1.",
    ):
        assert shown in first
    assert "5 found in 9 scenes; the first 2 are shown" in words
    assert "distance 0.50 realism (LPIPS) not measured" in words
    assert "0 of 2 still fool the model" in words


def test_realism_that_was_never_measured_is_not_offered(tmp_path):
    unmeasured = [
        replace(attack, examples=tuple(replace(each, lpips=None) for each in attack.examples))
        for attack in attacks(PICTURE)
    ]
    page = Page(write_gallery(tmp_path, "demo", unmeasured).read_text(encoding="utf-8"))
    assert page.text.count("not measured") == 4  # three cards, and the place of the slider
    named = {attributes.get("name") for _, attributes in page.elements}
    assert {"distance", "confidence", "class", "attack", "hardened", "sort"} <= named
    assert "lpips" not in named


def test_only_its_own_script_runs(page):
    page.assert_self_contained()
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv"))
    (script,) = re.findall(r"<script>(.*?)</script>", page.source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src 'self';")


def test_pictures_lie_side_by_side_in_one_file(path, page):
    shown = {path.parent / name for name in page.files}
    assert shown == set((path.parent / "pictures").iterdir())
    assert len(shown) == 3
    with Image.open(path.parent / page.files[0]) as image:
        row = np.asarray(image) / 255
    before, after, change = np.split(row.transpose(2, 0, 1), 3, axis=2)
    np.testing.assert_allclose(before, PICTURE, atol=1 / 255)
    np.testing.assert_allclose(after, PICTURE[:, ::-1], atol=1 / 255)
    amplification = 1 / np.abs(PICTURE[:, ::-1] - PICTURE).max()
    np.testing.assert_allclose((change - 0.5) * 2 / amplification, after - before, atol=0.02)


def test_every_picture_says_what_it_shows(page):
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(images) == 9
    assert all(len(attributes["alt"]) > 20 for attributes in images)
    assert all((a["width"], a["height"], a["loading"]) == ("112", "112", "lazy") for a in images)


def test_every_control_has_a_label(page):
    labelled = re.findall(r"<label>(.*?)</label>", page.source, re.DOTALL)
    controls = re.findall(r"<(?:select|input) ", page.source)
    assert sum(bool(re.search(r"\w.*<(select|input) ", each, re.DOTALL)) for each in labelled) == 7
    assert len(controls) == 7


def test_wide_pictures_are_made_smaller_and_get_the_width_of_the_page(tmp_path):
    wide = np.zeros((1, 300, 600), dtype=np.float32)
    example = replace(attacks(PICTURE)[0].examples[0], original=wide, counterexample=wide)
    path = write_gallery(tmp_path, "streets", [AttackShown("sGD", 1, 1, (example,))])
    page = Page(path.read_text(encoding="utf-8"))
    assert cards(page)[0]["class"] == "card wide"
    with Image.open(tmp_path / page.files[0]) as image:
        assert image.size == (3 * 480, 240)


def test_nothing_found_is_no_page(tmp_path):
    with pytest.raises(BadInput, match="demo: the attacks found no counterexample"):
        write_gallery(tmp_path, "demo", [AttackShown("sGD", 7, 0, ())])
    bare = ReportData("demo", (Measure("Clean accuracy", None, 0.9),))
    write_report(tmp_path, replace(bare, counterexamples=attacks(PICTURE)))
    assert (tmp_path / "counterexamples.html").exists()
    nothing = replace(bare, counterexamples=(AttackShown("sGD", 7, 0, ()),))
    page = Page(write_report(tmp_path, nothing).read_text(encoding="utf-8"))
    assert "sGD 0 found in 7 scenes" in page.text
    assert not (tmp_path / "counterexamples.html").exists()
    assert page.links == {"#summary", "#counterexamples"}


def test_the_report_shows_a_dozen_and_leads_to_the_rest(tmp_path):
    one, _ = attacks(PICTURE)
    fooled = replace(one.examples[0], hardened=one.examples[0].after)
    many = replace(one, examples=(fooled, *one.examples * 7))
    data = ReportData("demo", (Measure("Clean accuracy", None, 0.9),), counterexamples=(many,))
    page = Page(write_report(tmp_path, data).read_text(encoding="utf-8"))
    gallery = Page((tmp_path / "counterexamples.html").read_text(encoding="utf-8"))
    assert (len(cards(page)), len(cards(gallery))) == (12, 15)
    assert "All 15 of them" in page.text
    assert "the 1 that still fool the hardened model" in page.text
    ways = {link.partition("#")[2] for link in page.links if link.startswith("counterexamples")}
    assert ways == {"", "hardened=wrong", *(f"n{number}" for number in range(1, 13))}
    assert {f"n{number}" for number in range(1, 16)} <= gallery.ids
    assert "index.html" in gallery.links


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to run the gallery's script")
@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("n2", ["1", "2", "3"]),
        ("sort=lpips", ["1", "3", "2"]),  # what was not measured comes last
        ("sort=-distance&confidence=0.7", ["2", "1"]),
        ("attack=sCW&class=none%20such", ["2"]),
        ("hardened=wrong", []),
    ],
)
def test_a_browser_sorts_and_filters_by_the_address(path, tmp_path, state, shown):
    command = (CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom")
    profile = f"--user-data-dir={tmp_path}"
    address = f"{path.as_uri()}#{state}"
    done = subprocess.run([*command, profile, address], capture_output=True, text=True, timeout=60)
    found = [card["data-number"] for card in cards(Page(done.stdout)) if "hidden" not in card]
    assert found == shown
    assert f"{len(shown)} of 3 shown" in done.stdout
