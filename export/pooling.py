"""Means and maxima over space, in the form that ONNX Runtime computes fastest."""

import onnx
from onnx import helper, numpy_helper, shape_inference

from export.scopes import scopes_of

__all__ = ["pool_over_space"]

POOLS = {"ReduceMean": "GlobalAveragePool", "ReduceMax": "GlobalMaxPool"}
LARGEST_MEAN = 64 * 64
"""Values to a channel: a pooling sums them one by one, and loses digits that a reduction keeps."""


def pool_over_space(model: onnx.ModelProto) -> None:
    """Write the detector's maxima, and its means of small maps, as global poolings, in place.

    The model's own are left as they are. The values are the same, but ONNX Runtime's convolutions
    keep their maps in blocks of channels, and a pooling reads those as they are: before a
    reduction, it first reorders the whole map.
    """
    graph = model.graph
    shapes = _shapes(model)
    constants = {entry.name: entry for entry in graph.initializer}
    for at, node in reversed(list(enumerate(graph.node))):
        if node.op_type not in POOLS or scopes_of(node)[:1] != ["detector"]:
            continue
        shape = shapes.get(node.input[0], [])
        if len(shape) != 4:
            continue
        # A size of 0 is any size, so perhaps a large one.
        small = 0 < shape[2] * shape[3] <= LARGEST_MEAN
        if node.op_type == "ReduceMean" and not small:
            continue
        axes = constants.get(node.input[1]) if len(node.input) > 1 else None
        if axes is None or {axis % 4 for axis in numpy_helper.to_array(axes).tolist()} != {2, 3}:
            continue
        keeps = next((entry.i for entry in node.attribute if entry.name == "keepdims"), 1)
        result = node.output[0]
        pooled = result if keeps else f"{result}_pooled"
        nodes = [helper.make_node(POOLS[node.op_type], [node.input[0]], [pooled], name=node.name)]
        if not keeps:
            nodes.append(helper.make_node("Flatten", [pooled], [result], name=f"{node.name}_flat"))
        del graph.node[at]
        for place, new in enumerate(nodes):
            new.metadata_props.extend(node.metadata_props)
            graph.node.insert(at + place, new)


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Return the sizes of each tensor, 0 where they are free."""
    graph = shape_inference.infer_shapes(model).graph
    known = (*graph.input, *graph.value_info)
    return {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in known
    }
