"""The guard bundle: a folder with one graph, and a manifest that says what is in it.

Nothing here imports torch: an edge box verifies and opens a bundle with the plain install.
"""

import hashlib
import json
import os
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, StringConstraints, ValidationError

from guard.errors import BadBundle, BadInput
from guard.settings import Settings
from guard.storage import sha256_of, write_text

__all__ = [
    "MANIFEST_NAME",
    "SCHEMA_VERSION",
    "Agreement",
    "Bundle",
    "Manifest",
    "TensorSpec",
    "Variant",
    "load_bundle",
    "seal_bundle",
]

SCHEMA_VERSION = 1
MANIFEST_NAME = "guard.json"
ONNX_NAME = "model.onnx"
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class TensorSpec(Settings):
    """One input or output of the graph; -1 in `shape` is any size (the batch)."""

    name: str
    datatype: Literal["float32", "int64", "bool"]
    shape: tuple[int, ...]


class Agreement(Settings):
    """How closely an exported file agreed with the module that it was made from.

    Attributes:
        images: how many real images were compared.
        logits, score: the largest relative differences.
        ties: images whose label or verdict differed because rounding alone decides it.
    """

    images: int = Field(ge=1)
    logits: float = Field(ge=0)
    score: float = Field(ge=0)
    ties: int = Field(ge=0)


class Variant(Settings):
    """A graph of lower precision beside the float32 one, calibrated for itself: its scores moved.

    Attributes:
        file: the graph.
        threshold: its own.
        calibration_size: clean images that the threshold stands on.
        images: how many real images it was compared with the float32 module on.
        same_labels, same_verdicts: the shares of them on which they agree.
        false_alarm_rate: the share of them, which are clean, above the threshold.
        engine: what gave these figures: an execution provider of ONNX Runtime, or `torch`, where
            none that is present runs the file.
        file_images: on how many of them the file itself was run.
    """

    file: str = Field(pattern=r"^model\.[a-z0-9]+\.onnx$")
    threshold: float
    calibration_size: int = Field(ge=1)
    images: int = Field(ge=1)
    same_labels: float = Field(ge=0, le=1)
    same_verdicts: float = Field(ge=0, le=1)
    false_alarm_rate: float = Field(ge=0, le=1)
    engine: str
    file_images: int = Field(ge=1)


class Manifest(Settings):
    """What `guard.json` says of a bundle."""

    schema_version: int = Field(SCHEMA_VERSION, ge=1, description="the layout of the bundle")
    task: Literal["classification"]
    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)
    class_names: tuple[str, ...] = Field(min_length=1)
    threshold: float = Field(description="an image is valid while its score is at most this")
    false_alarm_rate: float = Field(gt=0, lt=1, description="on clean images, at the threshold")
    calibration_size: int = Field(ge=1, description="clean images that the threshold stands on")
    layer_names: tuple[str, ...] = Field(min_length=1, description="of `discrepancy`, in order")
    data_fingerprint: str = Field(description="SHA-256 of the data that it was fitted on")
    package_versions: dict[str, str] = Field(description="what wrote the bundle")
    calibrated_size: tuple[int, int] | None = Field(
        None, description="height and width of the images that the scores are calibrated at"
    )
    parity: dict[str, Agreement] = Field({}, description="by exported file")
    variants: dict[str, Variant] = Field({}, description="graphs of lower precision")
    files: dict[str, Sha256] = Field({}, description="every other file of the bundle: its SHA-256")
    digest: Sha256 | Literal[""] = Field("", description="SHA-256 of the manifest without this")

    @property
    def input_shape(self) -> tuple[int, int | None, int | None]:
        """Channel, height and width of the images; None where any size will do."""
        channels, height, width = self.inputs[0].shape[1:]
        return channels, height if height > 0 else None, width if width > 0 else None

    def graph(self, precision: str = "float32") -> tuple[str, float]:
        """Return the file of a precision's graph, and its threshold.

        Raises:
            BadInput: the bundle has no such precision.
        """
        if precision == "float32":
            return ONNX_NAME, self.threshold
        if precision not in self.variants:
            present = ", ".join(["float32", *self.variants])
            raise BadInput(f"precision: {precision!r} is not in the bundle; there are: {present}")
        variant = self.variants[precision]
        return variant.file, variant.threshold


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


def load_bundle(folder: Path) -> Bundle:
    """Verify a bundle, then open it.

    The schema version is read first, then the manifest's own digest, the names, and every SHA-256;
    only then may the caller load the graph. Sums find damage; against malice, who can write new
    sums, only a signature helps.

    Raises:
        BadBundle: a file is missing, added, altered or a link, a name points outside the folder,
            the manifest is not one, or it is of a newer schema. The message names the file.
    """
    if not folder.is_dir():
        raise BadBundle(f"{folder}: is not a folder; a guard bundle is one")
    present = _files_in(folder)
    manifest = _read_manifest(folder / MANIFEST_NAME)
    for name in manifest.files:
        parts = PurePosixPath(name).parts
        if not parts or name != "/".join(parts) or ".." in parts or "\\" in name or ":" in name:
            raise BadBundle(f"{folder}: the file name {name!r} points outside the bundle")
    graphs = {ONNX_NAME, *(variant.file for variant in manifest.variants.values())}
    for name in sorted((graphs | set(manifest.files)) - present):
        raise BadBundle(f"{folder / name}: is missing")
    for name in sorted(present - set(manifest.files) - {MANIFEST_NAME}):
        raise BadBundle(f"{folder / name}: is not listed in {MANIFEST_NAME}")
    for name, expected in manifest.files.items():
        if (found := sha256_of(folder / name)) != expected:
            raise BadBundle(f"{folder / name}: is altered: SHA-256 {found}, not {expected}")
    return Bundle(folder, manifest)


def seal_bundle(folder: Path, manifest: Manifest) -> Manifest:
    """Write `guard.json` with the SHA-256 of every file that lies in `folder`; return what it says.

    Raises:
        BadBundle: the folder holds a link.
    """
    names = sorted(_files_in(folder) - {MANIFEST_NAME})
    files = {name: sha256_of(folder / name) for name in names}
    sealed = manifest.model_copy(update={"files": files, "digest": ""})
    sealed = sealed.model_copy(update={"digest": _digest(sealed)})
    write_text(folder / MANIFEST_NAME, _rendered(sealed))
    return sealed


def _read_manifest(path: Path) -> Manifest:
    try:
        content = path.read_bytes().decode("utf-8")
        values = json.loads(content)
    except OSError as error:
        raise BadBundle(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
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
        raise BadBundle(f"{path}: {where}: {first['msg']}") from None
    # The text must be the very one that this release writes, so that no byte of it is unsummed.
    if content != _rendered(manifest) or manifest.digest != _digest(manifest):
        raise BadBundle(f"{path}: is altered: its text does not match its digest")
    return manifest


def _digest(manifest: Manifest) -> str:
    unsigned = manifest.model_copy(update={"digest": ""})
    return hashlib.sha256(_rendered(unsigned).encode()).hexdigest()


def _rendered(manifest: Manifest) -> str:
    return json.dumps(manifest.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"


def _files_in(folder: Path) -> set[str]:
    """Name every file under `folder`, refusing links, which could lead anywhere."""
    names = set()
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root, name)
            if path.is_symlink():
                raise BadBundle(f"{path}: is a link; a bundle holds plain files only")
            if name in files:
                names.add(path.relative_to(folder).as_posix())
    return names
