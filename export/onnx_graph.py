"""A guarded classifier as one ONNX graph of standard operations."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import onnx
import torch
from jaxtyping import Float
from onnx import checker, numpy_helper, shape_inference
from torch import Tensor

from export.pooling import pool_over_space
from export.quiet import upstream_quiet
from guard.errors import CornerguardError
from guard.guarded import GuardedClassifier, GuardedOutput

__all__ = ["OPSET", "export_onnx"]

OPSET = 20
"""Read by ONNX Runtime since 1.17 and by TensorRT since 10."""

STANDARD_DOMAINS = ("", "ai.onnx")


def export_onnx(
    guarded: GuardedClassifier,
    path: Path,
    images: Float[Tensor, "b c h w"],
    metadata: Mapping[str, str],
) -> None:
    """Write the graph as a single file.

    Inputs: `images` [batch, channel, height, width] with any batch, and `threshold` [1], which the
    caller may leave out: it is an initializer, the calibrated value, that an input overrides.
    Outputs: the fields of `GuardedOutput`, in order.

    Args:
        guarded: in evaluation mode.
        path: the file to write.
        images: two or more, of the size that the graph is to take.
        metadata: written as the model's metadata properties.

    Raises:
        CornerguardError: the model cannot be traced into a graph, or needs operations outside of
            the standard domain.
    """
    threshold = guarded.detector.threshold
    try:
        with upstream_quiet():
            program = torch.onnx.export(
                guarded,
                (images, threshold.clone()),
                dynamo=True,
                opset_version=OPSET,
                input_names=["images", "threshold"],
                output_names=list(GuardedOutput._fields),
                dynamic_shapes=({0: torch.export.Dim("batch")}, None),
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        raise CornerguardError(f"the model does not export to ONNX: {_reason(error)}") from None
    model = cast(torch.onnx.ONNXProgram, program).model_proto
    _make_overridable(model, threshold)
    _require_standard(model)
    pool_over_space(model)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    shape_inference.infer_shapes_path(str(path), str(path), strict_mode=True, data_prop=True)
    checker.check_model(str(path), full_check=True)


def _make_overridable(model: onnx.ModelProto, threshold: Float[Tensor, "1"]) -> None:
    """Give the input `threshold` an initializer of the same name: then it has a default."""
    default = numpy_helper.from_array(threshold.cpu().numpy(), "threshold")
    model.graph.initializer.append(default)


def _require_standard(model: onnx.ModelProto) -> None:
    foreign = sorted(
        {f"{node.domain}::{node.op_type}" for node in model.graph.node}
        - {f"{domain}::{node.op_type}" for node in model.graph.node for domain in STANDARD_DOMAINS}
    )
    if foreign:
        raise CornerguardError(f"the graph needs operations that are not ONNX's: {foreign[0]}")
    kept = [entry for entry in model.opset_import if entry.domain in STANDARD_DOMAINS]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _reason(error: Exception) -> str:
    """Take the first cause's first line: the exporter wraps it in pages of advice."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]
