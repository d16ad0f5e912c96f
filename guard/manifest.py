"""The manifest of a bundle, `guard.json`: what is in it, and how it came about."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from guard.errors import BadInput
from guard.settings import Settings

__all__ = ["ONNX_NAME", "SCHEMA_VERSION", "Agreement", "Manifest", "TensorSpec", "Variant"]

SCHEMA_VERSION = 1
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
        tolerance: the relative difference that was allowed.
    """

    images: int = Field(ge=1)
    logits: float = Field(ge=0)
    score: float = Field(ge=0)
    ties: int = Field(ge=0)
    tolerance: float = Field(gt=0)


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
    parity: dict[str, dict[str, Agreement]] = Field(
        {}, description="by exported file, and by the execution provider or device that ran it"
    )
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
