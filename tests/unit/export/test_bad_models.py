"""What keeps a model from becoming a graph is told in one line: the module, and what to do."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from export import capture, export_onnx, export_program, export_torchscript, require_parity
from export.runners import onnx_runner, program_runner, torchscript_runner
from guard.deep_validation import DeepValidation
from guard.errors import BadInput
from guard.guarded import GuardedClassifier
from guard.one_class_svm import OneClassSVMs, Solution
from guard.probes import Standardisation, Statistics
from guard.validators import Validator

CHANNELS, CLASSES = 4, 5
EXPORTERS = {
    "onnx": lambda captured, path: export_onnx(captured, path, {}),
    "torchscript": export_torchscript,
    "pt2": export_program,
}


class Body(nn.Module):
    """Does to maps [batch, 4, 8, 8] what it is told to."""

    def __init__(self, act: Callable[["Body", Tensor], Tensor]) -> None:
        super().__init__()
        self.act = act
        self.register_buffer("count", torch.zeros(1))

    def forward(self, maps: Tensor) -> Tensor:
        return self.act(self, maps)


def guard(act: Callable[[Body, Tensor], Tensor], layer: str = "features.0") -> GuardedClassifier:
    """Guard a network whose third layer, `features.2`, is the one in question."""
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module(
        "features", nn.Sequential(nn.Conv2d(3, CHANNELS, 1), nn.ReLU(inplace=True), Body(act))
    )
    model.add_module("head", nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * 64, CLASSES)))
    draw = np.random.default_rng(0)
    width = 3 * CHANNELS
    svms = OneClassSVMs.from_solutions(
        [Solution(draw.normal(size=(6, width)), np.ones(6), 0.5, 0.1) for _ in range(CLASSES)]
    )
    scaling = Standardisation(torch.zeros(width), torch.ones(width))
    detector = DeepValidation([Validator(layer, Statistics(), scaling, svms)])
    guarded = GuardedClassifier(model, detector).eval()
    detector.calibration = torch.linspace(0, 9, 30)
    detector.calibration_group = torch.zeros(30, dtype=torch.int64)
    detector.threshold = torch.tensor([2.0])
    return guarded


@torch.library.custom_op("cornerguard_tests::opaque", mutates_args=())
def opaque(maps: Tensor) -> Tensor:
    return maps * 2


def count(body: Body, maps: Tensor) -> Tensor:
    body.count += 1
    return maps * body.count


def gradient(_: Body, maps: Tensor) -> Tensor:
    leaf = maps.detach().requires_grad_()
    return torch.autograd.grad((leaf * leaf).sum(), leaf)[0]


def double(_: Body, maps: Tensor) -> Tensor:
    kernel = torch.eye(CHANNELS, dtype=torch.float64).view(CHANNELS, CHANNELS, 1, 1)
    return functional.conv2d(maps.double(), kernel).float()


BAD: dict[str, tuple[Callable[[Body, Tensor], Tensor], str]] = {
    "a branch on values": (
        lambda _, maps: maps if maps.sum() > -1e9 else -maps,
        r"goes by the values of a tensor \(test_bad_models.py:\d+\).*torch.where",
    ),
    "a number out of a tensor": (
        lambda _, maps: maps * (1 + 1e-9 * float(maps.mean())),
        "goes by the values of a tensor.*torch.where",
    ),
    "numpy": (
        lambda _, maps: torch.from_numpy(np.sqrt(maps.numpy())),
        "goes by the values of a tensor",
    ),
    "a fixed batch": (
        lambda _, maps: maps.view(64, CHANNELS, 8, 8),
        r"does not run on a batch of 6: shape '\[64, 4, 8, 8\]'.*write -1",
    ),
    "a batch fixed where the next layer fails": (
        lambda _, maps: maps.reshape(2, -1, 8, 8),
        "does not run on a batch of 6.*write -1",
    ),
    "a branch on the batch's size": (
        lambda _, maps: maps if len(maps) == 2 else maps * 2,
        "hangs on the batch.*each alone",
    ),
    "the batch's own statistics": (
        lambda _, maps: functional.batch_norm(maps, None, None, training=True),
        "hangs on the batch.*running statistics",
    ),
    "a buffer that changes": (
        count,
        "changes its buffer 'count' in evaluation mode.*if self.train",
    ),
    "random numbers": (
        lambda _, maps: functional.dropout(maps, 0.5, training=True),
        "answers otherwise when asked again.*if self.training",
    ),
    "gradients": (gradient, "needs gradients.*closed form"),
    "an operation of one's own": (lambda _, maps: opaque(maps), "cannot capture its operation"),
    "an operation that ONNX lacks": (
        lambda _, maps: torch.special.bessel_j0(maps),
        "bessel_j0, which ONNX has no operation for; write it with others",
    ),
    "float64 where ONNX Runtime has none": (double, "uses Conv on a type.*float32"),
}


@pytest.mark.parametrize("fault", BAD)
def test_the_module_is_named(fault: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    act, message = BAD[fault]
    guarded, images = guard(act), torch.rand(6, 3, 8, 8)
    before = {name: value.clone() for name, value in guarded.state_dict().items()}
    with pytest.raises(BadInput) as caught:
        export_onnx(capture(guarded, images), tmp_path / "model.onnx", {})
    assert re.fullmatch(rf"model: 'features\.2' \(Body\): [^\n]*{message}[^\n]*", str(caught.value))
    assert all(value.equal(before[name]) for name, value in guarded.state_dict().items())
    assert not any(module._forward_hooks for module in guarded.modules())
    assert not any(module._forward_pre_hooks for module in guarded.modules())
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda logits: {"out": logits}, "model: its output is a dict; .*wrap it in a module"),
        (lambda logits: (logits, logits), "model: its output is a tuple; .*wrap it in a module"),
        (lambda logits: logits[:, :, None], r"model: its output is \[6, 5, 1\]; logits"),
        (lambda logits: logits.double(), r"model: its logits are float64, .*\.float\(\)"),
    ],
    ids=["dict", "tuple", "three axes", "float64"],
)
def test_what_is_no_logits_is_named(change: Callable[[Tensor], object], message: str) -> None:
    guarded = guard(lambda _, maps: maps)
    guarded.model.head.register_forward_hook(lambda _, __, logits: change(logits))
    with pytest.raises(BadInput, match=message):
        capture(guarded, torch.rand(6, 3, 8, 8))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (torch.float64, r"layers: 'features\.2' gives float64, float32 is wanted"),
        (torch.int64, r"layers: 'features\.2' gives int64, float32 is wanted"),
    ],
)
def test_a_watched_layer_of_another_type_is_named(kind: torch.dtype, message: str) -> None:
    guarded = guard(lambda _, maps: (9 * maps).to(kind), "features.2")
    guarded.model.head.register_forward_pre_hook(lambda _, given: given[0].float())
    with pytest.raises(BadInput, match=message):
        capture(guarded, torch.rand(6, 3, 8, 8))


def pooled_to(size: object) -> GuardedClassifier:
    """Guard a network that pools its maps of 8 x 8 to a size, and enlarges them again."""

    def act(_: Body, maps: Tensor) -> Tensor:
        return functional.interpolate(functional.adaptive_max_pool2d(maps, size), (8, 8))

    return guard(act)


@pytest.mark.parametrize("size", [1, (2, 4), (8, None)])
def test_an_adaptive_pooling_whose_windows_are_alike_agrees(size: object, tmp_path: Path) -> None:
    guarded, images = pooled_to(size), torch.randn(80, 3, 8, 8)
    path = tmp_path / "model.onnx"
    export_onnx(capture(guarded, images), path, {})
    found = require_parity(guarded, onnx_runner(path), images, "model.onnx")
    assert (found.images, found.ties) == (80, 0)


@pytest.mark.parametrize("size", [3, (8, 5), 16])
def test_an_adaptive_pooling_whose_windows_differ_is_named(size: object, tmp_path: Path) -> None:
    said = r"model: 'features\.2' \(Body\): uses aten.adaptive_max_pool2d, .*; write it with others"
    with pytest.raises(BadInput, match=said):
        export_onnx(capture(pooled_to(size), torch.rand(6, 3, 8, 8)), tmp_path / "model.onnx", {})


def test_a_pooling_that_onnx_gives_another_size_is_named(tmp_path: Path) -> None:
    """torch leaves out a last window that begins behind the map; ONNX's inference does not."""

    def pooled(_: Body, maps: Tensor) -> Tensor:
        wide = nn.functional.interpolate(maps, (24, 24))
        return nn.functional.max_pool2d(wide, 2, 3, ceil_mode=True)

    captured = capture(guard(pooled), torch.rand(6, 3, 8, 8))
    with pytest.raises(BadInput, match=r"model: 'features\.2' \(Body\): ONNX gives .*ceil_mode"):
        export_onnx(captured, tmp_path / "model.onnx", {})


def test_what_works_in_place_behind_a_watched_layer_is_exported_as_it_was_seen(
    tmp_path: Path,
) -> None:
    """The watched convolution's output is made positive in place by the ReLU behind it."""
    guarded = guard(lambda _, maps: maps.mul_(2).add_(1))
    images = torch.randn(80, 3, 8, 8)
    with torch.no_grad():
        seen = guarded.model.features[0](images)
        expected = guarded.detector.validators[0](seen, guarded(images).label)
    captured = capture(guarded, images)
    for exporter, run in (
        ("onnx", onnx_runner),
        ("torchscript", lambda path: torchscript_runner(path, guarded.detector.threshold)),
        ("pt2", lambda path: program_runner(path, guarded.detector.threshold)),
    ):
        path = tmp_path / f"model.{exporter}"
        EXPORTERS[exporter](captured, path)
        require_parity(guarded, run(path), images, exporter)
        discrepancy = run(path)(images)[2]
        assert np.asarray(discrepancy)[:, 0] == pytest.approx(expected.numpy(), rel=1e-4)


def test_the_graph_is_whole_and_loads_wherever_providers_are_listed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(capture(guard(lambda _, maps: maps), torch.rand(2, 3, 8, 8)), path, {})
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    shaped = {value.name for value in inferred.graph.value_info}
    shaped |= {value.name for value in inferred.graph.output}
    assert shaped >= {name for node in model.graph.node for name in node.output if name}
    # The module's name is kept with each node, and nothing of the machine that exported.
    keys = {entry.key for node in model.graph.node for entry in node.metadata_props}
    assert keys == {"pkg.torch.onnx.name_scopes"}
    assert str(Path(__file__).parent).encode() not in path.read_bytes()

    listed = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    known = [one for one in listed if one in onnxruntime.get_available_providers()]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=known)
    assert session.get_providers()[-1] == "CPUExecutionProvider"
    capfd.readouterr()
    images = np.random.default_rng(0).random((3, 3, 8, 8), np.float32)
    assert session.run(["valid"], {"images": images})[0].shape == (3,)
