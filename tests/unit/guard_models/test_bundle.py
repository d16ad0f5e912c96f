"""A bundle that must not be loaded is refused, and the file that is to blame is named.

That each changed byte is found is tested where bundles are signed.
"""

import json
import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from guard.bundle import _digest, _rendered, load_bundle, seal_bundle
from guard.errors import BadBundle
from guard.manifest import Manifest, TensorSpec


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "report").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(bytes(range(256)) * 4)
    (folder / "report" / "index.html").write_text("<p>figures</p>")
    seal_bundle(
        folder,
        Manifest(
            task="classification",
            inputs=(TensorSpec(name="images", datatype="float32", shape=(-1, 3, 32, -1)),),
            outputs=(TensorSpec(name="logits", datatype="float32", shape=(-1, 2)),),
            class_names=("cat", "dog"),
            threshold=0.125,
            false_alarm_rate=0.03,
            calibration_size=100,
            layer_names=("input",),
            data_fingerprint="0" * 64,
            package_versions={"torch": "2.9"},
        ),
    )
    return folder


def test_a_whole_bundle_opens(bundle: Path) -> None:
    opened = load_bundle(bundle)
    assert opened.onnx_path().read_bytes()[:2] == b"\x00\x01"
    assert opened.manifest.input_shape == (3, 32, None)
    assert sorted(opened.manifest.files) == ["model.onnx", "report/index.html"]


def listed(bundle: Path, name: str) -> None:
    """List another file, sealed as an attacker would who knows how."""
    manifest = load_bundle(bundle).manifest
    (bundle / "stand-in").write_text("x")
    sealed = seal_bundle(bundle, manifest)
    (bundle / "stand-in").unlink()
    forged = sealed.model_copy(
        update={"files": {(name if k == "stand-in" else k): v for k, v in sealed.files.items()}}
    )
    forged = forged.model_copy(update={"digest": _digest(forged)})
    (bundle / "guard.json").write_text(_rendered(forged))


def changed(bundle: Path, **values: object) -> None:
    path = bundle / "guard.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def rewritten(bundle: Path, old: str, new: str) -> None:
    path = bundle / "guard.json"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def replaced(bundle: Path, name: str, make: Callable[[Path], object]) -> None:
    (bundle / name).unlink(missing_ok=True)
    make(bundle / name)


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda b: (b / "extra.bin").write_text(""), "extra.bin: is not listed"),
        (lambda b: (b / "model.onnx").unlink(), "model.onnx: is missing"),
        (lambda b: (b / "guard.json").unlink(), "guard.json: cannot be read"),
        (lambda b: (b / "guard.json").write_text("{"), "guard.json: is not JSON"),
        (lambda b: (b / "guard.json").write_text("[]"), "guard.json"),
        (lambda b: changed(b, schema_version=2), "schema version 2, newer than 1"),
        (lambda b: changed(b, threshold=9.0), "guard.json: is altered"),
        (lambda b: changed(b, threshold="high"), "guard.json: threshold"),
        (lambda b: changed(b, surprise=1), "guard.json: surprise"),
        (lambda b: (b / "link").symlink_to("/etc/hostname"), "link: is a link"),
        (lambda b: (b / "folder").symlink_to("/etc"), "folder: is a link"),
        (lambda b: listed(b, "../../secret"), "points outside"),
        (lambda b: listed(b, "/etc/passwd"), "points outside"),
        (lambda b: listed(b, "report/../x"), "points outside"),
        (lambda b: listed(b, "..\\secret"), "points outside"),
        (lambda b: listed(b, "C:secret"), "points outside"),
        (lambda b: listed(b, ""), "points outside"),
        (lambda b: listed(b, "./x"), "points outside"),
        (lambda b: listed(b, "report//x"), "points outside"),
        (lambda b: listed(b, "a\0b"), r"'a\\x00b' has characters that do not print"),
        (lambda b: listed(b, "\u202egnp.exe"), r"'\\u202egnp.exe' has characters"),
        (lambda b: listed(b, "MODEL.onnx"), "'MODEL.onnx' and 'model.onnx' are one and the same"),
        (lambda b: listed(b, "Report/x"), "'Report' and 'report' are one and the same"),
        (lambda b: listed(b, "Guard.json"), "'Guard.json' and 'guard.json' are one"),
        (lambda b: listed(b, "guard.json"), "guard.json: lists guard.json"),
        (lambda b: listed(b, "model.sig"), "guard.json: lists model.sig"),
        (lambda b: (b / "model.onnx").rename(b / "Model.onnx"), "model.onnx: is missing"),
        (lambda b: (b / ".gitignore").write_text("*"), r"\.gitignore: is not listed"),
        (lambda b: (b / "a\x1b[2J").write_text(""), r"a\\x1b\[2J: is not listed"),
        (lambda b: (b / os.fsdecode(b"\xff")).write_text(""), r"\\udcff: is not listed"),
        (lambda b: os.mkfifo(b / "report" / "pipe"), "pipe: is a pipe, socket or device"),
        (lambda b: replaced(b, "model.onnx", os.mkfifo), "model.onnx: is a pipe"),
        (lambda b: replaced(b, "guard.json", os.mkfifo), "guard.json: is a pipe"),
        (lambda b: replaced(b, "model.sig", os.mkfifo), "model.sig: is a pipe"),
        (lambda b: replaced(b, "socket", listen), "socket: is a pipe, socket or device"),
        (lambda b: replaced(b, "guard.json", Path.mkdir), "guard.json: cannot be read"),
        (lambda b: replaced(b, "model.onnx", Path.mkdir), "model.onnx: is missing"),
        (lambda b: (b / "guard.json").write_text(" " * (5 << 20)), "guard.json: is longer than"),
        (lambda b: (b / "guard.json").write_text("[" * 200_000), "guard.json: is not JSON"),
        (lambda b: (b / "guard.json").write_bytes(b"\xff{}"), "guard.json: is not JSON"),
        (lambda b: rewritten(b, '\n  "task', '\n "task'), "guard.json: is altered"),
        (
            lambda b: rewritten(
                b, '  "threshold": 0.125', '  "threshold": 9,\n  "threshold": 0.125'
            ),
            "guard.json: is altered",
        ),
    ],
)
def test_what_must_not_be_loaded_is_named(
    bundle: Path, harm: Callable[[Path], object], message: str
) -> None:
    harm(bundle)
    with pytest.raises(BadBundle, match=message):
        load_bundle(bundle)


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", Path(os.devnull)):
        with pytest.raises(BadBundle, match="is not a folder"):
            load_bundle(path)


def test_a_zip_file_is_refused_and_not_unpacked(bundle: Path) -> None:
    packed = bundle.with_suffix(".zip")
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(bundle / "guard.json", "guard.json")
        archive.writestr("../outside", "x")
        archive.writestr("/tmp/outside", "x")
    before = sorted(bundle.parent.rglob("*"))
    with pytest.raises(BadBundle, match=r"bundle\.zip: is a zip file"):
        load_bundle(packed)
    assert sorted(bundle.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda b: (b / "report" / "INDEX.html").write_text(""), "one and the same"),
        (lambda b: (b / "a\\b").write_text(""), "points outside"),
        (lambda b: (b / "a\nb").write_text(""), "do not print"),
        (lambda b: os.mkfifo(b / "pipe"), "pipe: is a pipe"),
        (lambda b: (b / "link").symlink_to("model.onnx"), "link: is a link"),
    ],
)
def test_what_could_not_be_loaded_is_not_sealed(
    bundle: Path, harm: Callable[[Path], object], message: str
) -> None:
    manifest = load_bundle(bundle).manifest
    harm(bundle)
    with pytest.raises(BadBundle, match=message):
        seal_bundle(bundle, manifest)
