"""The guard bundle: a folder with one graph, and a manifest that says what is in it.

Nothing here imports torch: an edge box verifies and opens a bundle with the plain install.
"""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from guard.bundle_files import (
    MANIFEST_NAME,
    SIGNATURE_NAME,
    files_in,
    read_bounded,
    require_portable,
    shown,
    sum_of,
)
from guard.errors import BadBundle
from guard.manifest import ONNX_NAME, SCHEMA_VERSION, Manifest
from guard.signature import verify_signature
from guard.storage import write_text

__all__ = ["Bundle", "load_bundle", "seal_bundle"]

LONGEST_MANIFEST = 4 << 20
UNLISTED = {MANIFEST_NAME, SIGNATURE_NAME}
"""What the manifest cannot list: itself, and the signature, which covers it."""


class Bundle(NamedTuple):
    """A bundle whose every file was found whole."""

    path: Path
    manifest: Manifest

    def onnx_path(self, precision: str = "float32") -> Path:
        """Return where the graph of a precision is.

        Raises:
            BadInput: the bundle has no such precision.
        """
        return self.path / self.manifest.graph(precision)[0]


def load_bundle(folder: Path, public_key: Path | None = None) -> Bundle:
    """Verify a bundle, then open it.

    With a key, the signature is verified first. Then the schema version is read, the manifest's own
    digest, the names, and every SHA-256; only then may the caller load the graph. Sums find damage;
    against malice, who can write new sums, only a signature helps. Without a key nothing is said of
    the signature, should there be one.

    Args:
        folder: the bundle.
        public_key: a PEM file, the key that must have signed it (needs the extra `sign`); None
            takes a bundle without a signature too.

    Raises:
        BadInput: the key cannot be used.
        BadBundle: a file is missing, added, altered, or not a plain file, a name points outside the
            folder, the manifest is not one, or it is of a newer schema, or the bundle is not signed
            with the key. The message names the file.
    """
    if not folder.is_dir():
        if folder.is_file() and zipfile.is_zipfile(folder):
            raise BadBundle(f"{folder}: is a zip file; a guard bundle is a folder: unpack it first")
        raise BadBundle(f"{folder}: is not a folder; a guard bundle is one")
    present = files_in(folder)
    if public_key is not None:
        if SIGNATURE_NAME not in present:
            raise BadBundle(f"{folder / SIGNATURE_NAME}: is missing: the bundle is not signed")
        verify_signature(folder, public_key)
    manifest = _read_manifest(folder / MANIFEST_NAME)
    require_portable({*manifest.files, *UNLISTED}, folder)
    for name in sorted(UNLISTED & set(manifest.files)):
        raise BadBundle(f"{folder / MANIFEST_NAME}: lists {name}, which it cannot know")
    graphs = {ONNX_NAME, *(variant.file for variant in manifest.variants.values())}
    for name in sorted((graphs | set(manifest.files)) - present):
        raise BadBundle(f"{folder / name}: is missing")
    for name in sorted(present - set(manifest.files) - UNLISTED):
        raise BadBundle(f"{shown(folder / name)}: is not listed in {MANIFEST_NAME}")
    for name, expected in manifest.files.items():
        if (found := sum_of(folder / name)) != expected:
            raise BadBundle(f"{folder / name}: is altered: SHA-256 {found}, not {expected}")
    return Bundle(folder, manifest)


def seal_bundle(folder: Path, manifest: Manifest) -> Manifest:
    """Write `guard.json` with the SHA-256 of every file that lies in `folder`; return what it says.

    A signature that lies there from before no longer holds.

    Raises:
        BadBundle: the folder holds what is not a plain file, or a name that no bundle may have.
    """
    names = files_in(folder) - UNLISTED
    require_portable(names | UNLISTED, folder)
    files = {name: sum_of(folder / name) for name in sorted(names)}
    sealed = manifest.model_copy(update={"files": files, "digest": ""})
    sealed = sealed.model_copy(update={"digest": _digest(sealed)})
    write_text(folder / MANIFEST_NAME, _rendered(sealed))
    return sealed


def _read_manifest(path: Path) -> Manifest:
    try:
        content = read_bounded(path, LONGEST_MANIFEST).decode("utf-8")
        values = json.loads(content)
    except (ValueError, RecursionError):
        raise BadBundle(f"{path}: is not JSON") from None
    version = values.get("schema_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise BadBundle(
            f"{path}: is of schema version {version}, newer than {SCHEMA_VERSION}, "
            "the newest that this release reads; update cornerguard"
        )
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadBundle(f"{path}: {shown(where)}: {first['msg']}") from None
    # The text must be the very one that this release writes, so that no byte of it is unsummed.
    if content != _rendered(manifest) or manifest.digest != _digest(manifest):
        raise BadBundle(f"{path}: is altered: its text does not match its digest")
    return manifest


def _digest(manifest: Manifest) -> str:
    unsigned = manifest.model_copy(update={"digest": ""})
    return hashlib.sha256(_rendered(unsigned).encode()).hexdigest()


def _rendered(manifest: Manifest) -> str:
    return json.dumps(manifest.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"
