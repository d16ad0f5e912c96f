"""A bundle is opened only if every byte of it is what was sealed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from guard.bundle import Manifest, TensorSpec, _digest, _rendered, load_bundle, seal_bundle
from guard.errors import BadBundle


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


@pytest.mark.parametrize("name", ["guard.json", "model.onnx", "report/index.html"])
def test_a_changed_byte_is_caught_wherever_it_is(bundle: Path, name: str) -> None:
    path = bundle / name
    whole = path.read_bytes()
    for at in range(0, len(whole), 1 + len(whole) // 400):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1, 32)[at % 2]]) + whole[at + 1 :])
        with pytest.raises(BadBundle, match=Path(name).name):
            load_bundle(bundle)
    path.write_bytes(whole.replace(b"\n", b"\r", 1) if b"\n" in whole else whole[:-1])
    with pytest.raises(BadBundle):
        load_bundle(bundle)
    path.write_bytes(whole)
    load_bundle(bundle)


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
    ],
)
def test_what_must_not_be_loaded_is_named(
    bundle: Path, harm: Callable[[Path], object], message: str
) -> None:
    harm(bundle)
    with pytest.raises(BadBundle, match=message):
        load_bundle(bundle)


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadBundle, match="is not a folder"):
        load_bundle(tmp_path / "nothing")
