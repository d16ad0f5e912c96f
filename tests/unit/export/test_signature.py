"""With a key, only what its owner signed is loaded; the library's own command agrees."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from torch import nn

from export import ExportSettings, export_bundle
from export.signature import require_signing_key, sign_bundle
from guard.bundle import load_bundle, seal_bundle
from guard.errors import BadBundle, BadInput
from tests.unit.export.export_samples import CLASSES, FEW, fitted
from tests.unit.export.signing_keys import Keys, write_keys
from tests.unit.serving.tiny_bundle import image_of, write_bundle

CURVES = (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return write_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def signed(tmp_path: Path, keys: Keys) -> Path:
    folder = write_bundle(tmp_path / "bundle")
    sign_bundle(folder, keys.private)
    return folder


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_what_is_signed_is_loaded(tmp_path: Path, curve: ec.EllipticCurve) -> None:
    keys = write_keys(tmp_path, curve)
    folder = write_bundle(tmp_path / "bundle")
    sign_bundle(folder, keys.private)
    assert {path.name for path in folder.iterdir()} == {"guard.json", "model.onnx", "model.sig"}
    assert load_bundle(folder, keys.public) == load_bundle(folder)
    sign_bundle(folder, keys.private)  # again, in the place of the first
    renamed = folder.rename(tmp_path / "another")
    assert load_bundle(renamed, keys.public).manifest.files.keys() == {"model.onnx"}


def test_export_signs_all_of_a_bundle_and_refuses_a_bad_key_before_it_works(
    tmp_path: Path, keys: Keys
) -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(392, 5))
    guarded, images = fitted(model, (3, 16, 16), FEW)
    common = {"class_names": CLASSES, "images": images, "data_fingerprint": "f" * 64}
    folder, signing = tmp_path / "bundle", ExportSettings(signing_key=keys.private)
    export_bundle(guarded, folder, **common, settings=signing)
    assert {path.name for path in folder.iterdir()} == {"guard.json", "model.onnx", "model.sig"}
    assert load_bundle(folder, keys.public).manifest.class_names == CLASSES
    bad = ExportSettings(signing_key=keys.public)
    with pytest.raises(BadInput, match="is not a private key to sign with"):
        export_bundle(guarded, tmp_path / "another", **common, settings=bad)
    assert not (tmp_path / "another").exists()


def test_the_librarys_command_verifies_it_and_what_that_signs_is_loaded(
    signed: Path, keys: Keys
) -> None:
    signature = signed / "model.sig"
    verify = ("-m", "model_signing", "verify", "key", "--signature", signature)
    assert run(*verify, "--public_key", keys.public, signed).returncode == 0
    signature.unlink()
    sign = ("-m", "model_signing", "sign", "key", "--signature", signature)
    ended = run(*sign, "--private_key", keys.private, signed)
    assert ended.returncode == 0, ended.stderr
    load_bundle(signed, keys.public)
    (signed / "model.onnx").write_bytes(b"another")
    assert run(*verify, "--public_key", keys.public, signed).returncode != 0


def test_a_signature_that_leaves_the_manifest_out_is_refused(signed: Path, keys: Keys) -> None:
    signature = signed / "model.sig"
    common = ("--signature", signature, "--ignore-paths", signed / "guard.json", signed)
    sign = ("-m", "model_signing", "sign", "key", "--private_key", keys.private)
    assert run(*sign, *common).returncode == 0
    verify = ("-m", "model_signing", "verify", "key", "--public_key", keys.public)
    assert run(*verify, *common).returncode == 0
    with pytest.raises(BadBundle, match=r"guard\.json is not among what was signed"):
        load_bundle(signed, keys.public)


def resealed(folder: Path) -> None:
    """Alter a file and write new sums, as whoever has no key can."""
    manifest = load_bundle(folder).manifest
    (folder / "model.onnx").write_bytes(b"another")
    seal_bundle(folder, manifest)
    load_bundle(folder)


def with_anothers_signature(folder: Path) -> None:
    """Take the signature of another bundle by the same key: it is a good one, of other files."""
    other = write_bundle(folder.parent / "other", height=16)
    sign_bundle(other, folder.parent / "private.pem")
    (other / "model.sig").replace(folder / "model.sig")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda b: (b / "model.sig").unlink(), r"model\.sig: is missing: the bundle is not signed"),
        (lambda b: (b / "model.sig").write_text(""), r"model\.sig: does not verify"),
        (lambda b: (b / "model.sig").write_text("{}"), r"model\.sig: does not verify"),
        (lambda b: (b / "model.sig").write_text("[" * 100_000), r"model\.sig: does not verify"),
        (lambda b: (b / "model.sig").write_bytes(b"\xff"), r"model\.sig: does not verify"),
        (lambda b: (b / "model.sig").write_text(" " * (5 << 20)), r"model\.sig: is longer than"),
        (lambda b: (b / "model.onnx").write_text(""), r"Hash mismatch for 'model\.onnx'"),
        (lambda b: (b / "model.onnx").unlink(), r"Missing files .*: model\.onnx"),
        (lambda b: (b / "guard.json").write_text("{}"), r"Hash mismatch for 'guard\.json'"),
        (lambda b: (b / ".gitignore").write_text(""), r"Extra files .*: \.gitignore"),
        (resealed, r"Hash mismatch for 'guard\.json'"),
        (with_anothers_signature, r"Hash mismatch for 'guard\.json'"),
    ],
)
def test_what_is_not_signed_is_refused(
    tmp_path: Path, harm: Callable[[Path], object], message: str
) -> None:
    keys = write_keys(tmp_path)
    folder = write_bundle(tmp_path / "bundle")
    sign_bundle(folder, keys.private)
    harm(folder)
    with pytest.raises(BadBundle, match=message):
        load_bundle(folder, keys.public)


def test_another_key_is_refused(signed: Path, tmp_path: Path) -> None:
    stranger = write_keys(tmp_path / "stranger")
    with pytest.raises(BadBundle, match=r"model\.sig: does not verify with .*public\.pem: Key mis"):
        load_bundle(signed, stranger.public)


def test_what_is_not_whole_is_not_signed(signed: Path, keys: Keys) -> None:
    (signed / "model.onnx").write_bytes(b"another")
    with pytest.raises(BadBundle, match="is altered"):
        sign_bundle(signed, keys.private)


def others(folder: Path) -> list[tuple[str, Path, Path]]:
    """Return what is no such key: a private and a public file of each."""
    made = []
    kinds = {
        "rsa": rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
        "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    }
    for name, key in kinds.items():
        private, public = folder / f"{name}.pem", folder / f"{name}.pub"
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public.write_bytes(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        made.append((name, private, public))
    (folder / "text").write_text("no key")
    locked = write_keys(folder / "locked", passphrase=b"secret").private
    return [*made, ("text", folder / "text", folder / "text"), ("locked", locked, locked)]


def test_what_is_no_such_key_is_named(signed: Path, keys: Keys, tmp_path: Path) -> None:
    swapped = ("swapped", keys.public, keys.private)
    for _, private, public in (*others(tmp_path), swapped):
        with pytest.raises(BadInput, match=f"{private.name}: is not a private key to sign with"):
            require_signing_key(private)
        with pytest.raises(BadInput, match=f"{public.name}: is not a public key to verify with"):
            load_bundle(signed, public)
    missing = tmp_path / "missing.pem"
    for use in (lambda: require_signing_key(missing), lambda: load_bundle(signed, missing)):
        with pytest.raises(BadInput, match=r"missing\.pem: cannot be read: No such file"):
            use()
    require_signing_key(keys.private)


WITHOUT_THE_LIBRARY = """
import sys
sys.modules["model_signing"] = None
from guard.cli import main
sys.argv = ["cornerguard", *sys.argv[1:]]
main()
"""


def test_without_a_key_the_library_is_not_needed(signed: Path, keys: Keys) -> None:
    alone = run("-c", WITHOUT_THE_LIBRARY, "verify", signed)
    assert alone.returncode == 0, alone.stderr
    assert "was not verified: no --public-key" in alone.stdout
    asked = run("-c", WITHOUT_THE_LIBRARY, "verify", signed, "--public-key", keys.public)
    assert asked.returncode == 2
    assert "pip install 'cornerguard[sign]'" in asked.stderr
    assert len(asked.stderr.splitlines()) == 1


def test_the_commands_take_a_key(signed: Path, keys: Keys, tmp_path: Path) -> None:
    from PIL import Image

    photo = tmp_path / "photo.png"
    pixels = (image_of(0.2).transpose(1, 2, 0) * 255).round().astype("uint8")
    Image.fromarray(pixels).save(photo)
    key = ("--public-key", keys.public)
    whole = run("-m", "guard", "verify", signed, *key)
    assert whole.returncode == 0, whole.stderr
    assert "model.onnx" in whole.stdout
    last = whole.stdout.splitlines()[-1]
    assert last.startswith(f"{signed}: whole: 1 files, ")
    assert last.endswith(f"; signed with the key of {keys.public}")
    assert run("-m", "guard", "check", signed, photo, *key).returncode == 0
    (signed / "model.sig").unlink()
    assert run("-m", "guard", "verify", signed).stdout.splitlines()[-1].endswith("; not signed")
    for command in (("verify", signed), ("check", signed, photo), ("serve", signed)):
        ended = run("-m", "guard", *command, *key)
        assert ended.returncode == 2, command
        assert "model.sig: is missing: the bundle is not signed" in ended.stderr
        assert len(ended.stderr.splitlines()) == 1, ended.stderr
