"""The count of operations against PyTorch's own, and by hand."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from export.operations import operations
from export.quiet import upstream_quiet
from guard.errors import BadInput
from offline.networks import small_resnet


def tiny() -> nn.Module:
    return small_resnet(3, width=4)


def exported(path: Path, model: nn.Module, shape: tuple[int, ...], names: dict[int, str]) -> None:
    dimensions = {at: torch.export.Dim(name, max=4096) for at, name in names.items()}
    with upstream_quiet():
        program = torch.onnx.export(
            model,
            (torch.rand(2, *shape),),
            dynamo=True,
            dynamic_shapes=(dimensions,),
            verbose=False,
        )
    program.save(path)


@pytest.mark.parametrize(
    ("make", "shape"),
    [(tiny, (3, 16, 16)), (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), (3, 2, 2))],
    ids=["convolutions", "linear"],
)
def test_products_are_counted_as_pytorch_does(
    tmp_path: Path, make: Callable[[], nn.Module], shape: tuple[int, int, int]
) -> None:
    model = make().eval()
    exported(tmp_path / "model.onnx", model, shape, {0: "batch"})
    found = operations(onnx.load(tmp_path / "model.onnx"), 6)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.rand(6, *shape))
    assert found["Conv"] + found["Gemm"] + found["MatMul"] == counter.get_total_flops()


def test_images_of_any_size_are_counted_at_the_size_that_is_named(tmp_path: Path) -> None:
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    model = nn.Sequential(*layers).eval()
    names = {0: "batch", 2: "height", 3: "width"}
    exported(tmp_path / "model.onnx", model, (3, 16, 16), names)
    graph = onnx.load(tmp_path / "model.onnx")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.rand(6, 3, 20, 32))
    found = operations(graph, 6, (20, 32))
    assert found["Conv"] + found["Gemm"] == counter.get_total_flops()
    assert found["Relu"] == 6 * 4 * 18 * 30
    with pytest.raises(BadInput, match="any size"):
        operations(graph, 6)


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
