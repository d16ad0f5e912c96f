"""`cornerguard render`: what it writes, read back by pycocotools; mistakes named with the line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from typer.testing import CliRunner

from guard.cli import app
from guard.errors import BadInput
from offline.rendering.coco import run_lengths
from offline.rendering.ground_truth import annotate
from offline.rendering.image_formation import srgb
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.rendered_folder import palette, render_file
from offline.rendering.scene_yaml import load_scene_file

SHIPS = """
size: [40, 56]
samples: 1
seed: 4
count: 3
image_formation: {exposure: 0.5}
objects:
  - {class: boat, pose: [0, 30, 0], translation: [-0.4, 0, 0], colour: [1, 0.5, 0.5]}
  - {mesh: cube.obj, class: crate, scale: 0.4, translation: [1, 0, 0.5]}
camera: {distance: 5, azimuth: 60, elevation: 15, target: [0.2, 0, 0]}
daylight: {hour: 9.5, weather: hazy, heading: 40}
"""
CUBE = """
v -1 -1 0
v 1 -1 0
v 1 1 0
v -1 1 0
v 0 0 1
f 1 2 3 4
f 1 2 5
f 2 3 5
f 3 4 5
f 4 1 5
"""


@pytest.fixture
def ships(tmp_path: Path) -> Path:
    (tmp_path / "cube.obj").write_text(CUBE)
    (tmp_path / "ships.yaml").write_text(SHIPS)
    return tmp_path / "ships.yaml"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools'
def test_a_scene_file_becomes_images_with_their_truth(ships: Path) -> None:
    out = ships.parent / "out"
    done = CliRunner().invoke(app, ["render", str(ships), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in out.iterdir()) == [
        "annotations.json", "depth", "images", "instances", "masks",
    ]  # fmt: skip
    scenes = load_scene_file(ships).scenes(0, 3)
    wanted = srgb((Rasterizer(40, 56, 1, shadows=True).radiance(scenes) * 2**0.5).clamp(0, 1))
    truth = annotate(scenes, 40, 56)
    coco = COCO(out / "annotations.json")
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["boat", "crate"]
    for i in range(3):
        image = np.asarray(Image.open(out / "images" / f"000{i}.png"))
        np.testing.assert_array_equal(image, (wanted[i] * 255).round().permute(1, 2, 0).numpy())
        mask = Image.open(out / "masks" / f"000{i}.png")
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.asarray(mask), truth.segmentation[i].numpy() + 1)
        instances = np.asarray(Image.open(out / "instances" / f"000{i}.png"))
        np.testing.assert_array_equal(instances, truth.instances[i].numpy() + 1)
        depth = np.load(out / "depth" / f"000{i}.npy")
        np.testing.assert_array_equal(depth, truth.depth[i].numpy())
        for each in coco.loadAnns(coco.getAnnIds(imgIds=[i])):
            seen = truth.instances[i].numpy() == each["object"]
            np.testing.assert_array_equal(coco.annToMask(each), seen)
            y, x = np.nonzero(seen)
            assert each["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
            assert each["area"] == seen.sum()
    images = coco.loadImgs([0, 1, 2])
    assert [image["file_name"] for image in images] == [f"images/000{i}.png" for i in range(3)]
    first, second = (np.asarray(Image.open(out / "images" / f"000{i}.png")) for i in (0, 1))
    assert (first != second).any()  # the boat is drawn anew


def test_an_image_does_not_depend_on_how_many_there_are(ships: Path) -> None:
    render_file(ships, ships.parent / "one", 1)
    render_file(ships, ships.parent / "two", 2)
    one, two = (ships.parent / name / "images" / "0000.png" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_streets_are_rendered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "street.yaml").write_text(
        "size: [32, 48]\nsamples: 1\nstreet: {hour: [8, 9], subjects: [bus]}\n"
    )
    render_file(tmp_path / "street.yaml", tmp_path / "out", 2)
    written = json.loads((tmp_path / "out" / "annotations.json").read_text())
    names = {each["id"]: each["name"] for each in written["categories"]}
    assert [names[image["subject"]] for image in written["images"]] == ["bus", "bus"]
    assert {"road", "building"} <= {names[each["category_id"]] for each in written["annotations"]}
    assert "Rendering 2 images" in capsys.readouterr().err


def test_an_object_out_of_view_is_a_warning_with_its_number(
    ships: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ships.write_text(SHIPS.replace("[1, 0, 0.5]", "[90, 0, 0]"))
    render_file(ships, ships.parent / "out", 1)
    assert "warning: image 0: object 1 is out of view" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("class: boat", "class: boot", r"ships\.yaml:8: objects\.0\.class: .*did you mean 'boat'"),
        ("cube.obj", "no.obj", r"ships\.yaml:9: objects\.1\.mesh: .*no\.obj: cannot be read"),
        ("distance: 5", "distance: -5", r"ships\.yaml:10: camera\.distance: .*greater than 0"),
        ("heading: 40", "head: 4", r"ships\.yaml:11: unknown key 'daylight\.head'.*'heading'"),
        ("daylight:", "light: {}\ndaylight:", "`daylight` gives the light"),
        ("seed: 4", "street: {}", "one of `objects` and `street` is wanted"),
        ("seed: 4", "renderer: rasteriser", r"ships\.yaml:4: renderer: .*did you mean 'rasteri"),
        ("seed: 4", "renderer: mitsuba\nshadows: true", r"ships\.yaml:1: mitsuba casts no `sh"),
        ("{mesh: cube", "{mash: cube", r"ships\.yaml:9: .*\.mash'; did you mean 'mesh'"),
        ("size: [40, 56]", "size: 40", r"ships\.yaml:2: size: input should be a list, not '40'"),
        ("daylight: {hour: 9.5, weather: hazy, heading: 40}", "background: sky.png",
         r"ships\.yaml:11: background: .*not a picture"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_line(ships: Path, old: str, new: str, wanted: str) -> None:
    ships.write_text(SHIPS.replace(old, new))
    with pytest.raises(BadInput, match=wanted):
        render_file(ships, ships.parent / "out")
    assert not (ships.parent / "out").exists()


def test_streets_draw_from_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "street.yaml"
    path.write_text("street:\n  models: none\n")
    with pytest.raises(BadInput, match=r"street\.yaml:2: street\.models: none: there is no such"):
        load_scene_file(path)
    path.write_text("street: {subjects: [tower]}\n")
    with pytest.raises(BadInput, match=r"street\.yaml:1: street: no 'tower' for a street"):
        load_scene_file(path)
    path.write_text("street: {}\ncamera: {distance: 3}\n")
    with pytest.raises(BadInput, match="`street` draws its own camera"):
        load_scene_file(path)


def test_a_folder_with_something_in_it_is_left_alone(ships: Path) -> None:
    with pytest.raises(BadInput, match="is not an empty folder"):
        render_file(ships, ships.parent)
    with pytest.raises(BadInput, match=r"cube\.obj/out: cannot be written: "):
        render_file(ships, ships.parent / "cube.obj" / "out", 1)
    ships.write_text(SHIPS.replace("class: boat", "mesh: cube.obj"))
    with pytest.raises(BadInput, match="its 3 images would be the same"):
        render_file(ships, ships.parent / "out")


@pytest.mark.parametrize(
    ("rows", "runs"),
    [
        ([[0, 0], [0, 0]], [4]),
        ([[1, 1], [1, 1]], [0, 4]),
        ([[1, 0], [0, 1]], [0, 1, 2, 1]),
        ([[0, 1], [1, 1], [0, 0]], [1, 1, 1, 2, 1]),
    ],
)
def test_run_lengths_go_down_the_columns(rows: list[list[int]], runs: list[int]) -> None:
    assert run_lengths(np.array(rows, dtype=bool)) == runs


def test_the_palette_is_that_of_pascal_voc() -> None:
    colours = np.array(palette(20)).reshape(-1, 3).tolist()
    assert colours[:4] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert colours[15] == [192, 128, 128]  # person
    assert colours[20] == [0, 64, 128]  # monitor
