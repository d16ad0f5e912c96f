"""The Triton repository, read back with Triton's own schema and held against the graph."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from export.triton import TritonSettings, write_triton_repository
from guard.bundle import load_bundle
from guard.errors import BadInput
from tests.unit.serving.tiny_bundle import CLASSES, OUTPUTS, write_bundle

# In a process of its own: tritonclient and `guard.serving.protocol` both define the protocol.
PARSER = """
import sys
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2
text = open(sys.argv[1], encoding="utf-8").read()
config = text_format.Parse(text, model_config_pb2.ModelConfig())
print(json_format.MessageToJson(config, preserving_proto_field_name=True))
"""
TYPES = {"tensor(float)": "TYPE_FP32", "tensor(int64)": "TYPE_INT64", "tensor(bool)": "TYPE_BOOL"}


def parsed(path: Path) -> dict[str, Any]:
    ended = subprocess.run(
        [sys.executable, "-c", PARSER, str(path)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    config: dict[str, Any] = json.loads(ended.stdout)
    return config


def session_of(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def shape_of(tensor: dict[str, Any], batched: bool) -> list[int]:
    """Return the shape that Triton gives to the model: its reshape's, after the batch."""
    sizes = tensor["reshape"].get("shape", []) if "reshape" in tensor else tensor["dims"]
    return ([-1] if batched else []) + [int(size) for size in sizes]


@pytest.mark.parametrize("size", [None, 8], ids=["any size", "8 by 8"])
@pytest.mark.parametrize("most", [64, 0], ids=["batching", "a threshold of its own"])
def test_the_configuration_is_what_tritons_onnx_runtime_backend_takes(
    most: int, size: int | None, tmp_path: Path
) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "guard", size, size))
    preferred = (16, 32) if most else ()
    settings = TritonSettings(
        max_batch_size=most,
        preferred_batch_sizes=preferred,
        queue_delay=500,
        instances=2,
        device="cpu",
    )
    model = write_triton_repository(bundle, tmp_path / "models", settings)
    assert model == tmp_path / "models" / "guard"
    assert sorted(str(path.relative_to(model)) for path in model.rglob("*.*")) == [
        "1/model.onnx",
        "config.pbtxt",
        "labels.txt",
    ]
    assert (model / "labels.txt").read_text().splitlines() == list(CLASSES)
    config = parsed(model / "config.pbtxt")
    assert config["name"] == model.name
    assert config["backend"] == "onnxruntime"
    assert config["instance_group"] == [{"kind": "KIND_CPU", "count": 2}]
    assert config.get("max_batch_size", 0) == most
    batching = {"preferred_batch_size": [16, 32], "max_queue_delay_microseconds": "500"}
    assert config.get("dynamic_batching") == (batching if most else None)

    session = session_of(model / "1" / config["default_model_filename"])
    # The backend counts the inputs that are not optional, and finds those among the initializers.
    required = [given for given in config["input"] if not given.get("optional")]
    optional = [given for given in config["input"] if given.get("optional")]
    assert [given["name"] for given in optional] == ([] if most else ["threshold"])
    assert len(required) == len(session.get_inputs())
    real = {
        tensor.name: tensor
        for tensor in (
            *session.get_inputs(),
            *session.get_overridable_initializers(),
            *session.get_outputs(),
        )
    }
    assert [given["name"] for given in config["output"]] == list(OUTPUTS)
    for tensor in (*config["input"], *config["output"]):
        found = real[tensor["name"]]
        assert tensor["data_type"] == TYPES[found.type]
        assert tensor["dims"]  # Triton refuses a tensor without axes
        sizes = [size if isinstance(size, int) else -1 for size in found.shape]
        assert shape_of(tensor, batched=most > 0) == sizes
    labelled = [given["name"] for given in config["output"] if "label_filename" in given]
    assert labelled == ["logits"]

    images = np.full((3, 3, 8, 8), 0.5, np.float32)
    assert session.run(["valid"], {"images": images})[0].tolist() == [True] * 3


def test_on_a_gpu_scores_are_computed_in_full_float32(tmp_path: Path) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "guard"))
    accelerators = {
        device: parsed(
            write_triton_repository(
                bundle, tmp_path / "models", TritonSettings(name=device, device=device)
            )
            / "config.pbtxt"
        ).get("optimization")
        for device in ("cpu", "gpu")
    }
    cuda = {"name": "cuda", "parameters": {"use_tf32": "0"}}
    assert accelerators == {
        "cpu": None,
        "gpu": {"execution_accelerators": {"gpu_execution_accelerator": [cuda]}},
    }
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["cpu", "gpu"]


def test_the_model_is_replaced_and_its_neighbours_stay(tmp_path: Path) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "guard"))
    (tmp_path / "models" / "other").mkdir(parents=True)
    (tmp_path / "models" / "other" / "notes.txt").write_text("mine")
    for most in (64, 8):
        settings = TritonSettings(max_batch_size=most)
        model = write_triton_repository(bundle, tmp_path / "models", settings)
    assert "max_batch_size: 8\n" in (model / "config.pbtxt").read_text()
    with pytest.raises(BadInput, match=r"other: exists, but is no Triton model"):
        write_triton_repository(bundle, tmp_path / "models", TritonSettings(name="other"))
    assert (tmp_path / "models" / "other" / "notes.txt").read_text() == "mine"
    spaced = load_bundle(write_bundle(tmp_path / "my guard"))
    with pytest.raises(BadInput, match="'my guard' is no name for a model; give one"):
        write_triton_repository(spaced, tmp_path / "models")
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["guard", "other"]


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ({"preferred_batch_sizes": (65,)}, "lie between 1 and 64"),
        ({"max_batch_size": 0, "preferred_batch_sizes": (1,)}, "lie between 1 and 0"),
        ({"name": "../elsewhere"}, "match pattern"),
        ({"name": 'a" max_batch_size: 0'}, "match pattern"),
        ({"device": "tpu"}, "'auto', 'cpu' or 'gpu'"),
    ],
)
def test_settings_that_triton_would_refuse_are_refused(mistake: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TritonSettings(**mistake)
