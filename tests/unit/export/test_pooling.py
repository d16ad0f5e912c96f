"""Reductions over space become poolings that say the same."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, checker, helper, numpy_helper, shape_inference

from export.pooling import pool_over_space
from export.scopes import SCOPES

MAPS = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)


def reducing(
    operation: str,
    axes: tuple[int, ...],
    keepdims: int,
    space: tuple[int | str, ...] = (5, 4),
    scope: str = "detector",
) -> onnx.ModelProto:
    """Build a graph of one reduction of maps of any batch."""
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], ["unused"], value_float=1.0),  # has no input
            helper.make_node("Abs", ["maps"], ["positive"]),
            helper.make_node(operation, ["positive", "axes"], ["out"], keepdims=keepdims),
        ],
        "reducing",
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["batch", 3, *space])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(axes, dtype=np.int64), "axes")],
    )
    graph.node[-1].metadata_props.add(key=SCOPES, value=f"['', '{scope}', '{scope}.part', 'mean']")
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def answer(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return np.asarray(session.run(None, {"maps": MAPS})[0])


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [(2, 3), (3, 2), (-2, -1)])
@pytest.mark.parametrize(
    ("operation", "pool"), [("ReduceMean", "GlobalAveragePool"), ("ReduceMax", "GlobalMaxPool")]
)
def test_a_reduction_over_space_becomes_a_pooling(
    operation: str, pool: str, axes: tuple[int, ...], keepdims: int
) -> None:
    model = reducing(operation, axes, keepdims)
    before = answer(model)
    pool_over_space(model)
    checker.check_model(shape_inference.infer_shapes(model, strict_mode=True), full_check=True)
    assert pool in {node.op_type for node in model.graph.node}
    after = answer(model)
    assert after.shape == before.shape
    assert after == pytest.approx(before, rel=1e-6)


@pytest.mark.parametrize(
    ("operation", "axes", "space"),
    [
        ("ReduceMean", (1,), (5, 4)),
        ("ReduceMax", (1, 2), (5, 4)),
        ("ReduceSum", (2, 3), (5, 4)),
        ("ReduceMean", (2, 3), (65, 64)),
        ("ReduceMean", (2, 3), ("h", "w")),
    ],
)
def test_other_reductions_stay(
    operation: str, axes: tuple[int, ...], space: tuple[int | str, ...]
) -> None:
    model = reducing(operation, axes, 1, space)
    before = model.SerializeToString()
    pool_over_space(model)
    assert model.SerializeToString() == before


def test_the_models_own_reductions_stay() -> None:
    model = reducing("ReduceMean", (2, 3), 1, scope="model")
    before = model.SerializeToString()
    pool_over_space(model)
    assert model.SerializeToString() == before
