"""Writing a guard bundle: model and detector as one graph, with a manifest over every file."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from export.capture import capture
from export.formats import compare_onnx, require_format, write_format
from export.image_size import other_sizes, sized
from export.images import Calibration, Images
from export.manifest import describe, metadata_of
from export.onnx_graph import export_onnx
from export.settings import ExportSettings
from export.signature import require_signing_key, sign_bundle
from export.variants import write_variant
from guard.bundle import seal_bundle
from guard.errors import BadInput
from guard.guarded import GuardedClassifier
from guard.manifest import Agreement, Manifest
from guard.storage import replace_directory

__all__ = ["Calibration", "Images", "export_bundle"]

PARITY_IMAGES = 1000


def export_bundle(
    guarded: GuardedClassifier,
    folder: Path,
    *,
    class_names: Sequence[str],
    images: Images,
    data_fingerprint: str,
    settings: ExportSettings | None = None,
    calibration: Calibration | None = None,
    report: Path | None = None,
    picture: Path | None = None,
) -> Manifest:
    """Export, compare with the module on real images, and write the bundle whole or not at all.

    Args:
        guarded: model and calibrated detector; exported in evaluation mode.
        folder: what the bundle is to be; an older one there is replaced.
        class_names: one per logit.
        images: up to 1,000 are compared; their size is what the graph takes, unless the settings
            say otherwise.
        data_fingerprint: SHA-256 of the data that the detector was fitted on.
        settings: what is written beside `model.onnx`, and which sizes of images are taken.
        calibration: what graphs of lower precision are calibrated on; they need it.
        report: a folder that becomes `report/`.
        picture: where the worst image goes when a file disagrees; else `FOLDER.mismatch.png`.

    Raises:
        BadInput: the class names are not one per logit, the detector is not calibrated, there are
            fewer than two images, nothing to calibrate a lower precision on, the model does not
            export or take images of any size, or the signing key cannot be used.
        Mismatch: an exported file disagrees with the model.
        CornerguardError: a format's compiler is missing, or a lower precision does not agree.
    """
    settings = settings or ExportSettings()
    detector = guarded.detector
    if not len(detector.calibration):
        raise BadInput("export: the detector is not calibrated; it has no threshold")
    if len(images) < 2:
        raise BadInput(f"export: {len(images)} images; parity is checked on two or more")
    for kind in settings.formats:
        require_format(kind)
    if settings.precisions and calibration is None:
        raise BadInput(f"export.precisions: {settings.precisions[0]} needs calibration images")
    if settings.signing_key is not None:
        require_signing_key(settings.signing_key)
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
        module = sized(guarded, settings.image_size, (examples.shape[2], examples.shape[3]))
        manifest = describe(module, examples.shape, class_names, data_fingerprint)
        with replace_directory(folder) as aside:
            parity = _write_graphs(module, aside, examples, manifest, settings, picture)
            variants = {}
            if calibration is not None:
                said = metadata_of(manifest)
                for precision in settings.precisions:
                    variants[precision] = write_variant(
                        guarded, precision, aside, examples, calibration, said, settings
                    )
            if report is not None:
                shutil.copytree(report, aside / "report", symlinks=True)
            made = {"parity": parity, "variants": variants}
            sealed = seal_bundle(aside, manifest.model_copy(update=made))
            if settings.signing_key is not None:
                sign_bundle(aside, settings.signing_key)
            return sealed
    finally:
        guarded.train(training)


def _write_graphs(
    guarded: GuardedClassifier,
    folder: Path,
    images: Float[Tensor, "n c h w"],
    manifest: Manifest,
    settings: ExportSettings,
    picture: Path,
) -> dict[str, dict[str, Agreement]]:
    """Write each file, compare it with the module before the next, and say how they agreed."""
    by_size = [images, *other_sizes(guarded, images)]
    path = folder / "model.onnx"
    captured = capture(guarded, images[:2])
    export_onnx(captured, path, metadata_of(manifest))
    found = {path.name: compare_onnx(guarded, path, by_size, picture)}
    for kind in settings.formats:
        found |= write_format(captured, folder, by_size, kind, picture)
    return found
