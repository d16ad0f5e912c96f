"""Writing a guard bundle: model and detector as one graph, with a manifest over every file."""

import json
import platform
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, runtime_checkable

import onnxruntime
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from export.formats import Format, compare_onnx, require_format, write_format
from export.onnx_graph import export_onnx
from guard.bundle import SCHEMA_VERSION, Agreement, Manifest, TensorSpec, seal_bundle
from guard.errors import BadInput
from guard.guarded import GuardedClassifier
from guard.storage import replace_directory

__all__ = ["Images", "export_bundle"]

PARITY_IMAGES = 1000
PACKAGES = ("cornerguard", "torch", "onnx", "onnxruntime", "numpy")


@runtime_checkable
class Images(Protocol):
    """Real images, fetched by index; `offline.datasets.ImageSet` is one."""

    def __len__(self) -> int: ...

    def fetch(self, indices: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """Return the images at `indices`, float32 in [0, 1]."""


def export_bundle(
    guarded: GuardedClassifier,
    folder: Path,
    *,
    class_names: Sequence[str],
    images: Images,
    data_fingerprint: str,
    formats: Sequence[Format] = (),
    report: Path | None = None,
    picture: Path | None = None,
) -> Manifest:
    """Export, compare with the module on real images, and write the bundle whole or not at all.

    Args:
        guarded: model and calibrated detector; exported in evaluation mode.
        folder: what the bundle is to be; an older one there is replaced.
        class_names: one per logit.
        images: up to 1,000 are compared; their size is what the graph takes.
        data_fingerprint: SHA-256 of the data that the detector was fitted on.
        formats: what is written beside ONNX: `model.ts`, `model.pt2`, `model.aot.pt2`.
        report: a folder that becomes `report/`.
        picture: where the worst image goes when a file disagrees; else `FOLDER.mismatch.png`.

    Raises:
        BadInput: the class names are not one per logit, the detector is not calibrated, or there
            are fewer than two images.
        Mismatch: an exported file disagrees with the model.
        CornerguardError: the model does not export, or a format's compiler is missing.
    """
    detector = guarded.detector
    if not len(detector.calibration):
        raise BadInput("export: the detector is not calibrated; it has no threshold")
    if len(images) < 2:
        raise BadInput(f"export: {len(images)} images; parity is checked on two or more")
    for kind in formats:
        require_format(kind)
    picture = picture or folder.with_name(f"{folder.name}.mismatch.png")
    training = guarded.training
    guarded.eval()
    try:
        examples = images.fetch(torch.arange(min(PARITY_IMAGES, len(images))))
        examples = examples.to(detector.threshold.device)
        with torch.no_grad():
            classes = guarded(examples[:2]).logits.shape[1]
        if classes != len(class_names):
            raise BadInput(f"export: {len(class_names)} class names for {classes} logits")
        manifest = _manifest(guarded, examples.shape, class_names, data_fingerprint)
        with replace_directory(folder) as aside:
            parity = _write_graphs(guarded, aside, examples, manifest, formats, picture)
            if report is not None:
                shutil.copytree(report, aside / "report", symlinks=True)
            return seal_bundle(aside, manifest.model_copy(update={"parity": parity}))
    finally:
        guarded.train(training)


def _write_graphs(
    guarded: GuardedClassifier,
    folder: Path,
    images: Float[Tensor, "n c h w"],
    manifest: Manifest,
    formats: Sequence[Format],
    picture: Path,
) -> dict[str, dict[str, Agreement]]:
    """Write each file, compare it with the module before the next, and say how they agreed."""
    path = folder / "model.onnx"
    export_onnx(guarded, path, images[:2], _metadata(manifest))
    found = {path.name: compare_onnx(guarded, path, images, picture)}
    for kind in formats:
        found |= write_format(guarded, folder, images, kind, picture)
    return found


def _manifest(
    guarded: GuardedClassifier,
    shape: torch.Size,
    class_names: Sequence[str],
    data_fingerprint: str,
) -> Manifest:
    detector = guarded.detector
    layers = len(detector.layers)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        task="classification",
        inputs=(
            TensorSpec(name="images", datatype="float32", shape=(-1, *shape[1:])),
            TensorSpec(name="threshold", datatype="float32", shape=(1,)),
        ),
        outputs=(
            TensorSpec(name="logits", datatype="float32", shape=(-1, len(class_names))),
            TensorSpec(name="label", datatype="int64", shape=(-1,)),
            TensorSpec(name="discrepancy", datatype="float32", shape=(-1, layers)),
            TensorSpec(name="score", datatype="float32", shape=(-1,)),
            TensorSpec(name="p_value", datatype="float32", shape=(-1,)),
            TensorSpec(name="valid", datatype="bool", shape=(-1,)),
        ),
        class_names=tuple(class_names),
        threshold=float(detector.threshold),
        false_alarm_rate=detector.false_alarm_rate,
        calibration_size=len(detector.calibration),
        layer_names=detector.layers,
        data_fingerprint=data_fingerprint,
        package_versions={"python": platform.python_version(), **_versions()},
    )


def _metadata(manifest: Manifest) -> dict[str, str]:
    """Say in the graph itself what it is, for callers that have only the file."""
    return {
        "cornerguard.schema_version": str(manifest.schema_version),
        "cornerguard.class_names": json.dumps(manifest.class_names),
        "cornerguard.layer_names": json.dumps(manifest.layer_names),
        "cornerguard.false_alarm_rate": repr(manifest.false_alarm_rate),
        "cornerguard.data_fingerprint": manifest.data_fingerprint,
    }


def _versions() -> dict[str, str]:
    # ONNX Runtime is distributed under two names, so it is asked itself.
    named = {name: version(name) for name in PACKAGES if name != "onnxruntime"}
    return {**named, "onnxruntime": onnxruntime.__version__}
