"""A guarded classifier as one ONNX graph of standard operations."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import onnx
import onnxruntime
import torch
from jaxtyping import Float
from onnx import checker, numpy_helper, shape_inference
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented
from torch import Tensor

from export.blame import named
from export.capture import Captured, unsupported_operation
from export.image_size import named_axes
from export.pooling import pool_over_space
from export.quiet import upstream_quiet
from export.scopes import SCOPES, scopes_of
from guard.errors import BadInput
from guard.guarded import GuardedClassifier, GuardedOutput

__all__ = ["OPSET", "export_onnx", "write_graph"]

OPSET = 20
"""Read by ONNX Runtime since 1.17 and by TensorRT since 10."""

BFLOAT16_OPSET = 22
"""The first in which convolutions and pooling are defined for bfloat16."""

SINGLE_FILE_BYTES = 2**31 - 2**26
"""Of weights: protobuf writes no message above 2 GiB, of which 64 MiB are left for the nodes."""

STANDARD_DOMAINS = ("", "ai.onnx")


def export_onnx(captured: Captured, path: Path, metadata: Mapping[str, str]) -> None:
    """Write the graph; see `write_graph` for where its weights are.

    Inputs: `images` [batch, channel, height, width] with any batch, and any height and width if it
    is an `AnySize`, and `threshold` [1], which the caller may leave out: it is an initializer, the
    calibrated value, that an input overrides. Outputs: the fields of `GuardedOutput`, in order.

    Args:
        captured: the model.
        path: the file to write.
        metadata: written as the model's metadata properties.

    Raises:
        BadInput: the model needs what ONNX has no operation for, or ONNX Runtime no kernel.
    """
    guarded, _, program = captured
    # The optimiser folds batch norms into convolutions through NumPy, which has no bfloat16: the
    # weights would come out as float32.
    bfloat16 = any(parameter.dtype is torch.bfloat16 for parameter in guarded.parameters())
    try:
        with upstream_quiet():
            translated = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=BFLOAT16_OPSET if bfloat16 else OPSET,
                optimize=not bfloat16,
                input_names=["images", "threshold"],
                output_names=list(GuardedOutput._fields),
                dynamic_shapes=(named_axes(guarded), None),
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        raise BadInput(unsupported_operation(captured, error)) from None
    model = cast(torch.onnx.ONNXProgram, translated).model_proto
    _make_overridable(model, guarded.detector.threshold)
    _require_standard(guarded, model)
    pool_over_space(model)
    _forget_sources(model)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    try:
        write_graph(model, path)
    except shape_inference.InferenceError as error:
        raise BadInput(_missized(guarded, model, error)) from None
    if not bfloat16:  # which ONNX Runtime has no kernels for on a CPU
        _require_kernels(guarded, model, path)


def write_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph with all its shapes, checked: one file, or two above protobuf's 2 GiB.

    Then the weights lie in `PATH.data`, which the graph names and which must lie beside it.
    """
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


def _require_standard(guarded: GuardedClassifier, model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.domain not in STANDARD_DOMAINS:
            raise BadInput(
                f"{_module_of(guarded, node)}: uses {node.domain}::{node.op_type}, which is not "
                "ONNX's; write it with torch's own operations, or put another layer in its place"
            )
    kept = [entry for entry in model.opset_import if entry.domain in STANDARD_DOMAINS]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _require_kernels(guarded: GuardedClassifier, model: onnx.ModelProto, path: Path) -> None:
    """Refuse what ONNX Runtime cannot load, such as a convolution in float64."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except NotImplemented as error:
        found = re.search(r"implementation for (\S+?)\(\d+\) node with name '([^']+)'", str(error))
        node = next(n for n in model.graph.node if found and n.name == found[2])
        raise BadInput(
            f"{_module_of(guarded, node)}: uses {node.op_type} on a type of number that ONNX "
            "Runtime does not do it in; compute in float32"
        ) from None


def _missized(guarded: GuardedClassifier, model: onnx.ModelProto, error: Exception) -> str:
    found = re.search(r"node name: ([^)\s]+)\)", str(error))
    node = next((node for node in model.graph.node if found and node.name == found[1]), None)
    where = named(guarded, "model") if node is None else _module_of(guarded, node)
    return (
        f"{where}: ONNX gives its output another size than torch: {' '.join(str(error).split())}; "
        "of a pooling leave ceil_mode out, and pad its input in its place"
    )


def _module_of(guarded: GuardedClassifier, node: onnx.NodeProto) -> str:
    return named(guarded, (scopes_of(node) or ["model"])[-1])


def _forget_sources(model: onnx.ModelProto) -> None:
    """Leave each node the name of its module; upstream adds types and, in part, source code."""
    for node in model.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key == SCOPES]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
