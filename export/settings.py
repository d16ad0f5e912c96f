"""What a bundle holds beside the float32 ONNX graph, and which images its graphs take."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from guard.settings import Settings

__all__ = ["ExportSettings", "Format", "ImageSize", "Precision"]

Format = Literal["torchscript", "torch_export", "aot_inductor"]
Precision = Literal["float16", "bfloat16", "int8"]
ImageSize = Literal["fixed", "any", "resized"]


class ExportSettings(Settings):
    """The recipe's group `export`.

    Attributes:
        formats: written beside ONNX: `torchscript` (model.ts, deprecated upstream), `torch_export`
            (model.pt2), `aot_inductor` (model.aot.pt2, machine code; needs a C++ compiler).
        precisions: ONNX graphs of lower precision, each calibrated for itself: `float16` and
            `bfloat16` (the classifier; the detector stays float32), `int8` (its products).
        least_agreement: the share of labels that each of them must have in common with float32.
        image_size: `fixed`, that of the images it is exported with; `resized`, any, resized in the
            graph to the calibrated one; `any`, as it is, where the model allows: the scores are
            calibrated at the size of the calibration images, and what a score means at another
            size is not known.
        signing_key: a PEM file, the private key that signs the bundle; none, and it is not signed.
    """

    formats: tuple[Format, ...] = ()
    precisions: tuple[Precision, ...] = ()
    least_agreement: float = Field(0.95, ge=0, le=1)
    image_size: ImageSize = "fixed"
    signing_key: Path | None = None
