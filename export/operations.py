"""How many floating-point operations an ONNX graph takes, from the shapes of its nodes."""

import math
from collections import Counter
from collections.abc import Sequence

import onnx
from onnx import shape_inference

from guard.errors import BadInput

__all__ = ["operations"]

# fmt: off
NONE = frozenset({
    "Cast", "Concat", "Constant", "ConstantOfShape", "Expand", "Flatten", "Gather", "Identity",
    "Pad", "Range", "Reshape", "Shape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
})
# fmt: on
"""These move values about, or make shapes."""

PER_INPUT = frozenset(["ArgMax", "GlobalAveragePool", "GlobalMaxPool", "Softmax"])
"""And everything that is called Reduce…: one operation per value that goes in."""

Shape = Sequence[int]


def operations(
    model: onnx.ModelProto, batch: int, size: tuple[int, int] | None = None
) -> Counter[str]:
    """Count by kind of node, for a batch of so many images.

    Where the graph takes images of any height and width, `size` says for which to count.

    A product and its sum are two. A matrix product of [m, k] and [k, n] counts 2mkn, a convolution
    2k per value that it gives, k the size of its kernel times the channels that it reads; a pooling
    one per value in its window; a reduction one per value read; everything else, exponentials among
    it, one per value given. What only moves values counts nothing, and that is its flaw: where
    memory is the bound, operations say little of time.

    Raises:
        BadInput: the graph takes images of any size and none was given.
    """
    shapes = _shapes(model, batch, size)
    total: Counter[str] = Counter()
    for node in model.graph.node:
        if node.op_type not in NONE:
            inputs = [shapes.get(name, ()) for name in node.input]
            total[node.op_type] += _of(node, inputs, shapes[node.output[0]])
    return total


def _of(node: onnx.NodeProto, inputs: Sequence[Shape], output: Shape) -> int:
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    values = math.prod(output)
    if node.op_type == "Conv":
        return 2 * values * math.prod(inputs[1][1:])
    if node.op_type == "MatMul":
        return 2 * values * inputs[0][-1]
    if node.op_type == "Gemm":
        return 2 * values * inputs[0][0 if attributes.get("transA") else 1]
    if node.op_type in ("AveragePool", "MaxPool"):
        kernel: Shape = attributes["kernel_shape"]
        return values * math.prod(kernel)
    if node.op_type in PER_INPUT or node.op_type.startswith("Reduce"):
        return math.prod(inputs[0])
    return values


def _shapes(model: onnx.ModelProto, batch: int, size: tuple[int, int] | None) -> dict[str, Shape]:
    """Infer every shape with the batch, and the size where it is open, fixed."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    tables = {one.name for one in fixed.graph.initializer}
    for one in fixed.graph.input:
        if one.name not in tables:
            _fix(one.type.tensor_type.shape.dim, (batch, None, *(size or ())), one.name)
    for one in fixed.graph.output:
        for dimension in one.type.tensor_type.shape.dim:
            if dimension.dim_param:  # what it is then follows from the inputs
                dimension.Clear()
    graph = shape_inference.infer_shapes(fixed, strict_mode=True, data_prop=True).graph
    shapes: dict[str, Shape] = {one.name: tuple(one.dims) for one in graph.initializer}
    for one in (*graph.input, *graph.value_info, *graph.output):
        shapes[one.name] = tuple(at.dim_value for at in one.type.tensor_type.shape.dim)
    return shapes


def _fix(
    dimensions: Sequence[onnx.TensorShapeProto.Dimension], sizes: Sequence[int | None], name: str
) -> None:
    """Give each open dimension its size, by its place."""
    for at, dimension in enumerate(dimensions):
        if dimension.dim_param:
            known = sizes[at] if at < len(sizes) else None
            if known is None:
                raise BadInput(
                    f"operations: dimension {at} of {name} may have any size; "
                    "they are counted for one height and width: give it"
                )
            dimension.dim_value = known
