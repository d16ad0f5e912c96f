"""A guarded classifier as one ONNX graph of standard operations."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import onnx
import torch
from jaxtyping import Float
from onnx import checker, numpy_helper, shape_inference
from torch import Tensor

from export.image_size import AnySize, named_axes
from export.quiet import upstream_quiet
from guard.errors import CornerguardError
from guard.guarded import GuardedClassifier, GuardedOutput

__all__ = ["OPSET", "export_onnx", "write_graph"]

OPSET = 20
"""Read by ONNX Runtime since 1.17 and by TensorRT since 10."""

BFLOAT16_OPSET = 22
"""The first in which convolutions and pooling are defined for bfloat16."""

SINGLE_FILE_BYTES = 2**31 - 2**26
"""Of weights: protobuf writes no message above 2 GiB, of which 64 MiB are left for the nodes."""

STANDARD_DOMAINS = ("", "ai.onnx")


def export_onnx(
    guarded: GuardedClassifier,
    path: Path,
    images: Float[Tensor, "b c h w"],
    metadata: Mapping[str, str],
) -> None:
    """Write the graph; see `write_graph` for where its weights are.

    Inputs: `images` [batch, channel, height, width] with any batch, and any height and width if it
    is an `AnySize`, and `threshold` [1], which the caller may leave out: it is an initializer, the
    calibrated value, that an input overrides. Outputs: the fields of `GuardedOutput`, in order.

    Args:
        guarded: in evaluation mode.
        path: the file to write.
        images: two or more, of the size that the graph is to take, or of any.
        metadata: written as the model's metadata properties.

    Raises:
        CornerguardError: the model cannot be traced into a graph, or needs operations outside of
            the standard domain.
    """
    threshold = guarded.detector.threshold
    # The optimiser folds batch norms into convolutions through NumPy, which has no bfloat16: the
    # weights would come out as float32.
    bfloat16 = any(parameter.dtype is torch.bfloat16 for parameter in guarded.parameters())
    try:
        with upstream_quiet():
            program = torch.onnx.export(
                guarded,
                (images, threshold.clone()),
                dynamo=True,
                opset_version=BFLOAT16_OPSET if bfloat16 else OPSET,
                optimize=not bfloat16,
                input_names=["images", "threshold"],
                output_names=list(GuardedOutput._fields),
                dynamic_shapes=(named_axes(guarded), None),
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        sizes = " for images of any size" if isinstance(guarded, AnySize) else ""
        reason = _reason(error)
        raise CornerguardError(f"the model does not export to ONNX{sizes}: {reason}") from None
    model = cast(torch.onnx.ONNXProgram, program).model_proto
    _make_overridable(model, threshold)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    write_graph(model, path)


def write_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph with all its shapes, checked: one file, or two above protobuf's 2 GiB.

    Then the weights lie in `PATH.data`, which the graph names and which must lie beside it.

    Raises:
        CornerguardError: it needs operations outside of the standard domain.
    """
    _require_standard(model)
    data = path.with_name(f"{path.name}.data")
    data.unlink(missing_ok=True)  # onnx.save would append to it
    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    large = weights > SINGLE_FILE_BYTES
    onnx.save(model, path, save_as_external_data=large, location=data.name)
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
