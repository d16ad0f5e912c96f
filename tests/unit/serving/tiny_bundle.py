"""A bundle around a graph of a few nodes, whose outputs a test can work out by hand."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from guard.bundle import seal_bundle
from guard.manifest import Manifest, TensorSpec

CLASSES = ("red", "green", "blue")
LAYERS = ("early", "late")
THRESHOLD = 0.0
OUTPUTS = ("logits", "label", "discrepancy", "score", "p_value", "valid")


Black = Literal["raises", "crashes", "hangs"]
MISHAPS: dict[Black, str] = {"raises": "row", "crashes": "same_row", "hangs": "same_row"}
"""Which row of a table of one is looked up."""


def expected_score(images: NDArray[Any]) -> NDArray[np.float64]:
    """Return the score of `[batch, 3, height, width]` as the graph defines it, in float64."""
    mean = images.astype(np.float64).mean(axis=(1, 2, 3))
    return 4 * (mean - 0.5) + np.sqrt(0.9 - mean) - 1


def image_of(brightness: float, size: tuple[int, int] = (8, 8)) -> NDArray[np.float32]:
    """Return a plain `[3, height, width]` image, a little greener than grey.

    The graph judges it by its brightness: up to 0.6 VALID, 0.7 to 0.88 CORNER_CASE, above 0.9
    UNVERIFIED because the score is NaN; at 0 the run itself fails.
    """
    image = np.full((3, *size), brightness, np.float32)
    if 0.05 < brightness < 0.95:
        image[1] += 0.02
        image[0] -= 0.02
    return image


def write_bundle(
    folder: Path,
    height: int | None = None,
    width: int | None = None,
    outputs: tuple[str, ...] = OUTPUTS,
    threshold: float = THRESHOLD,
    black: Black = "raises",
) -> Path:
    """Write the bundle; a height and width fix the size of the images.

    A black image makes the run raise, kill its process (x86 only) or never end.
    """
    folder.mkdir(parents=True)
    onnx.save(_graph(height, width, outputs, black), folder / "model.onnx")
    size = (height or -1, width or -1)
    manifest = Manifest(
        task="classification",
        inputs=(
            TensorSpec(name="images", datatype="float32", shape=(-1, 3, *size)),
            TensorSpec(name="threshold", datatype="float32", shape=(1,)),
        ),
        outputs=(
            TensorSpec(name="logits", datatype="float32", shape=(-1, 3)),
            TensorSpec(name="label", datatype="int64", shape=(-1,)),
            TensorSpec(name="discrepancy", datatype="float32", shape=(-1, 2)),
            TensorSpec(name="score", datatype="float32", shape=(-1,)),
            TensorSpec(name="p_value", datatype="float32", shape=(-1,)),
            TensorSpec(name="valid", datatype="bool", shape=(-1,)),
        ),
        class_names=CLASSES,
        threshold=threshold,
        false_alarm_rate=0.05,
        calibration_size=100,
        layer_names=LAYERS,
        data_fingerprint="0" * 64,
        package_versions={},
    )
    seal_bundle(folder, manifest)
    return folder


def _graph(
    height: int | None, width: int | None, outputs: tuple[str, ...], black: Black
) -> onnx.ModelProto:
    """logits = 10 × channel means; discrepancy = (4 (mean − ½), √(0.9 − mean) − 1).

    A black image asks for a row that a table does not have, which ONNX Runtime raises.
    """
    node = helper.make_node
    nodes = [
        node("ReduceMean", ["images", "space"], ["means"], keepdims=0),
        node("Mul", ["means", "ten"], ["logits"]),
        node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
        node("ReduceMean", ["means", "channels"], ["mean"], keepdims=1),
        node("Sub", ["mean", "half"], ["centred"]),
        node("Mul", ["centred", "four"], ["early"]),
        node("Sub", ["dark", "mean"], ["headroom"]),
        node("Sqrt", ["headroom"], ["root"]),
        node("Sub", ["root", "one"], ["late"]),
        node("Less", ["mean", "tiny"], ["black"]),
        node("Cast", ["black"], ["row"], to=TensorProto.INT64),
        *_mishap(black),
        node("Gather", ["table", MISHAPS[black]], ["nothing"]),
        node("Add", ["late", "nothing"], ["late_checked"]),
        node("Concat", ["early", "late_checked"], ["discrepancy"], axis=1),
        node("ReduceSum", ["discrepancy", "channels"], ["score"], keepdims=0),
        node("Neg", ["score"], ["negative"]),
        node("Sigmoid", ["negative"], ["p_value"]),
        node("LessOrEqual", ["score", "threshold"], ["valid"]),
    ]
    constants: dict[str, Any] = {
        "threshold": np.array([THRESHOLD], np.float32),
        "space": np.array([2, 3]),
        "channels": np.array([1]),
        "table": np.zeros(1, np.float32),
    }
    numbers = {"ten": 10, "half": 0.5, "four": 4, "dark": 0.9, "one": 1, "tiny": 0.001}
    constants |= {name: np.array(value, np.float32) for name, value in numbers.items()}
    integers = {"zero": 0, "one_row": 1, "two_rows": 2, "least": -(2**63), "endless": 2**62}
    constants |= {name: np.array(value) for name, value in integers.items()}
    constants["go_on"] = np.array(True)
    real, floats = helper.make_tensor_value_info, TensorProto.FLOAT
    every_output = [
        real("logits", floats, ["batch", 3]),
        real("label", TensorProto.INT64, ["batch"]),
        real("discrepancy", floats, ["batch", 2]),
        real("score", floats, ["batch"]),
        real("p_value", floats, ["batch"]),
        real("valid", TensorProto.BOOL, ["batch"]),
    ]
    graph = helper.make_graph(
        nodes,
        "guarded",
        [
            real("images", floats, ["batch", 3, height or "height", width or "width"]),
            real("threshold", floats, [1]),
        ],
        [made for made in every_output if made.name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    return model


def _mishap(black: Black) -> list[onnx.NodeProto]:
    """Return nodes that give row 0, if they give anything; `row` is 1 for a black image."""
    node = helper.make_node
    nought = node("Mul", ["spoilt", "zero"], ["same_row"])
    if black == "crashes":  # the one quotient of integers that does not fit, which traps
        return [
            node("Mul", ["row", "two_rows"], ["twice"]),
            node("Sub", ["one_row", "twice"], ["sign"]),
            node("Div", ["least", "sign"], ["spoilt"]),
            nought,
        ]
    if black == "hangs":
        body = helper.make_graph(
            [
                node("Identity", ["more"], ["again"]),
                node("Add", ["count", "one_row"], ["counted"]),
            ],
            "count",
            [
                helper.make_tensor_value_info("turn", TensorProto.INT64, []),
                helper.make_tensor_value_info("more", TensorProto.BOOL, []),
                helper.make_tensor_value_info("count", TensorProto.INT64, []),
            ],
            [
                helper.make_tensor_value_info("again", TensorProto.BOOL, []),
                helper.make_tensor_value_info("counted", TensorProto.INT64, []),
            ],
        )
        return [
            node("ReduceMax", ["row"], ["any_row"], keepdims=0),
            node("Mul", ["any_row", "endless"], ["turns"]),
            node("Loop", ["turns", "go_on", "zero"], ["counts"], body=body),
            node("Mul", ["row", "counts"], ["spoilt"]),
            nought,
        ]
    return []
