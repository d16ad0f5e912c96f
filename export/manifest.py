"""What a bundle's manifest and its graphs say of themselves."""

import json
import platform
from collections.abc import Sequence
from importlib.metadata import version

import onnxruntime
import torch

from export.image_size import AnySize
from guard.guarded import GuardedClassifier
from guard.manifest import SCHEMA_VERSION, Manifest, TensorSpec

__all__ = ["describe", "metadata_of"]

PACKAGES = ("cornerguard", "torch", "onnx", "onnxruntime", "numpy")


def describe(
    guarded: GuardedClassifier,
    shape: torch.Size,
    class_names: Sequence[str],
    data_fingerprint: str,
) -> Manifest:
    """Return the manifest of what is to be exported, before its files are there.

    Args:
        guarded: what is exported; an `AnySize` takes images of any height and width.
        shape: of a batch of the images that it was calibrated on.
        class_names: one per logit.
        data_fingerprint: SHA-256 of the data that the detector was fitted on.
    """
    detector = guarded.detector
    layers = len(detector.layers)
    _, channels, height, width = shape
    size = (-1, -1) if isinstance(guarded, AnySize) else (height, width)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        task="classification",
        inputs=(
            TensorSpec(name="images", datatype="float32", shape=(-1, channels, *size)),
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
        calibrated_size=(height, width),
        layer_names=detector.layers,
        data_fingerprint=data_fingerprint,
        package_versions={"python": platform.python_version(), **_versions()},
    )


def metadata_of(manifest: Manifest) -> dict[str, str]:
    """Say in the graph itself what it is, for callers that have only the file."""
    return {
        "cornerguard.schema_version": str(manifest.schema_version),
        "cornerguard.class_names": json.dumps(manifest.class_names),
        "cornerguard.layer_names": json.dumps(manifest.layer_names),
        "cornerguard.false_alarm_rate": repr(manifest.false_alarm_rate),
        "cornerguard.data_fingerprint": manifest.data_fingerprint,
        "cornerguard.precision": "float32",
    }


def _versions() -> dict[str, str]:
    # ONNX Runtime is distributed under two names, so it is asked itself.
    named = {name: version(name) for name in PACKAGES if name != "onnxruntime"}
    return {**named, "onnxruntime": onnxruntime.__version__}
