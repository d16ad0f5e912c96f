"""On a machine with CUDA no operation of the exported graph runs on the CPU that need not."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export import capture, export_onnx
from tests.unit.export.test_bad_models import guard

SMALL = {"Shape", "Size", "Gather", "Concat", "Slice", "Squeeze", "Unsqueeze", "Cast", "Range"}
"""ONNX Runtime keeps sums of sizes on the CPU on purpose: a few integers, never activations."""


def ran_on(path: Path, providers: list[str], folder: Path) -> dict[str, set[str]]:
    """Run the graph once under ONNX Runtime's profiler; return the operations by provider."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    session.run(None, {"images": np.random.default_rng(0).random((7, 3, 8, 8), np.float32)})
    found: dict[str, set[str]] = {}
    for event in json.loads(Path(session.end_profiling()).read_text()):
        provider = event.get("args", {}).get("provider")
        if provider:
            found.setdefault(provider, set()).add(event["args"]["op_name"])
    return found


def test_nothing_that_computes_runs_off_the_device(device: torch.device, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(capture(guard(lambda _, maps: maps), torch.rand(2, 3, 8, 8)), path, {})
    computing = {node.op_type for node in onnx.load(path).graph.node} - SMALL
    assert {"Conv", "MatMul"} <= computing
    first = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
    if device.type == "cuda":
        onnxruntime.preload_dlls()
    found = ran_on(path, list(dict.fromkeys([first, "CPUExecutionProvider"])), tmp_path)
    assert found[first]
    if device.type == "cuda":
        assert found.get("CPUExecutionProvider", set()) <= SMALL


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_copies_between_host_and_device_are_of_inputs_and_outputs_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(capture(guard(lambda _, maps: maps), torch.rand(2, 3, 8, 8)), path, {})
    onnxruntime.preload_dlls()
    found = ran_on(path, ["CUDAExecutionProvider", "CPUExecutionProvider"], tmp_path)
    assert not {"MemcpyToHost", "MemcpyFromHost"} & set.union(*found.values())
