"""The benchmark of overhead on a tiny network, and its count of operations against PyTorch's."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from guard.probes import ENERGY, INPUT
from offline.fitting import FitSettings
from offline.fitting.features import reduction_for
from offline.networks import small_resnet
from tests.benchmarks.guard_overhead import Case, benchmark


def tiny() -> nn.Module:
    return small_resnet(3, width=4)


def test_a_case_is_measured_with_the_sizes_that_its_settings_give() -> None:
    settings = FitSettings(components=7, max_vectors=5)
    figures = benchmark(Case(tiny, (3, 16, 16), 2, settings, 1.5), pairs=4, provider="cpu")
    low, high = figures["quartiles"]
    assert 0 < low <= figures["ratio"] <= high
    assert figures["bare_ms"] > 0
    assert figures["operations"]["added"] > 0
    watched = figures["watched"]
    assert [*watched] == [INPUT, "stem", *(f"stages.stage{at}" for at in range(1, 5)), ENERGY]
    seen = torch.rand(2, 4, 16, 16)
    features = reduction_for("stem", settings, seen, torch.Size([2, 3, 16, 16]))(seen).shape[1]
    assert watched["stem"] == {
        "features": features,
        "components": 7,
        "classes": 3,
        "vectors_per_class": 5,
    }


@pytest.mark.parametrize(
    ("make", "shape"),
    [(tiny, (3, 16, 16)), (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), (3, 2, 2))],
    ids=["convolutions", "linear"],
)
def test_products_are_counted_as_pytorch_does(
    tmp_path: Path, make: Callable[[], nn.Module], shape: tuple[int, int, int]
) -> None:
    model = make().eval()
    program = torch.onnx.export(
        model,
        (torch.rand(2, *shape),),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    program.save(tmp_path / "model.onnx")
    found = operations(onnx.load(tmp_path / "model.onnx"), 6)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.rand(6, *shape))
    assert found["Conv"] + found["Gemm"] + found["MatMul"] == counter.get_total_flops()


def test_reductions_count_what_they_read_and_copies_nothing() -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("ReduceMax", ["t"], ["m"], keepdims=0),
        helper.make_node("MatMul", ["x", "t"], ["p"]),
        helper.make_node("Exp", ["p"], ["e"]),
        helper.make_node("Add", ["e", "m"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4, 5]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4, 4]),
    ]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    expected = {"ReduceMax": 60, "MatMul": 2 * 48 * 5, "Exp": 48, "Add": 48}
    assert operations(model, 3) == expected
