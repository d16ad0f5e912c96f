"""tritonclient, unmodified and in a process of its own: sync, asyncio and streaming."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.serving.running import PATIENCE, Running, running

VERDICTS = ["VALID", "VALID", "CORNER_CASE", "UNVERIFIED"]


def session(mode: str, target: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.integration.serving.triton_session", mode, target]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, timeout=2 * PATIENCE
    )
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.fixture(scope="module")
def server(tiny_bundle: Path) -> Iterator[Running]:
    """A server whose statistics are of these tests alone."""
    with running(tiny_bundle) as server:
        yield server


@pytest.fixture(scope="module")
def seen(server: Running) -> dict[str, Any]:
    return session("sync", server.grpc)


def test_server_and_model_describe_themselves(seen: dict[str, Any], server: Running) -> None:
    assert seen["live"] == [True, True, True]
    assert seen["server"]["name"] == "cornerguard"
    assert "statistics" in seen["server"]["extensions"]
    assert not {"sequence", "system_shared_memory"} & set(seen["server"]["extensions"])
    assert seen["model"]["versions"] == [server.line["version"]]
    config = seen["config"]
    assert (config["name"], config["platform"]) == ("tiny", "onnxruntime_onnx")
    assert config["max_batch_size"] == 32
    assert "dynamic_batching" in config
    assert [(one["kind"], one["count"]) for one in config["instance_group"]] == [("KIND_CPU", 1)]
    inputs = {one["name"]: (one["data_type"], one["dims"]) for one in config["input"]}
    assert inputs == {
        "images": ("TYPE_FP32", ["3", "-1", "-1"]),
        "threshold": ("TYPE_FP32", ["1"]),
    }
    assert config["input"][1]["optional"] is True
    outputs = {one["name"]: (one["data_type"], one["dims"]) for one in config["output"]}
    assert outputs["logits"] == ("TYPE_FP32", ["3"])
    assert outputs["valid"] == ("TYPE_BOOL", ["1"])
    assert outputs["verdict"] == ("TYPE_STRING", ["1"])
    assert all(("reshape" in one) == (one["dims"] == ["1"]) for one in config["output"])


def test_perf_analyzer_can_read_the_version(seen: dict[str, Any]) -> None:
    """It reads a version of the statistics as a number, and looks that number up again."""
    (statistics,) = seen["statistics"]
    assert str(int(statistics["version"])) == statistics["version"]
    assert int(statistics["version"]) < 2**63


def test_tensors_of_every_type(seen: dict[str, Any]) -> None:
    assert seen["raised"] == [[True, True, True, False], [*["VALID"] * 3, "UNVERIFIED"]]
    # 4 (mean - 0.5) + sqrt(0.9 - mean) - 1
    assert seen["scores"] == pytest.approx([-1.3633, -0.3675, 0.5162], abs=1e-3)
    assert seen["half"] == VERDICTS
    assert seen["bytes"] == VERDICTS
    assert seen["async"] == [VERDICTS] * 3


def test_classification(seen: dict[str, Any]) -> None:
    assert seen["classes"] == [["6.000000:2:blue", "4.000000:0:red"]]


def test_statistics_count_the_requests(seen: dict[str, Any]) -> None:
    (statistics,) = seen["statistics"]
    whole = statistics["inference_stats"]
    requests = int(whole["success"]["count"])
    assert requests >= 8
    for stage in ("queue", "compute_input", "compute_infer", "compute_output"):
        assert int(whole[stage]["count"]) == requests
        assert int(whole[stage]["ns"]) > 0
    runs = {int(one["batch_size"]): one["compute_infer"] for one in statistics["batch_stats"]}
    assert sum(int(one["count"]) for one in runs.values()) == int(statistics["execution_count"])
    images = sum(size * int(one["count"]) for size, one in runs.items())
    assert images == int(statistics["inference_count"])
    assert int(whole["success"]["ns"]) > int(whole["compute_infer"]["ns"]) / 8


def test_repository_and_settings(seen: dict[str, Any], server: Running) -> None:
    assert seen["index"] == [{"name": "tiny", "version": server.line["version"], "state": "READY"}]
    assert seen["regions"] == [{}, {}]
    assert seen["trace"] == {"settings": {"trace_level": {"value": ["OFF"]}}}
    assert seen["log"] == ["log_error", "log_info", "log_warning"]


@pytest.mark.parametrize(
    ("index", "status", "message"),
    [
        (0, "NOT_FOUND", "no model 'tinny'; did you mean 'tiny'"),
        (1, "INVALID_ARGUMENT", "input 'images': values from"),
        (2, "INVALID_ARGUMENT", "parameter 'sequence_id'"),
        (3, "INVALID_ARGUMENT", "region 'r': shared memory is not taken"),
        (4, "INVALID_ARGUMENT", "parameter 'config': not taken"),
        (5, "NOT_FOUND", "no model 'other'"),
        (6, "INVALID_ARGUMENT", "log setting 'log_info': cannot be changed"),
        (7, "INVALID_ARGUMENT", "trace setting 'trace_rate': cannot be changed"),
    ],
)
def test_refusals(seen: dict[str, Any], index: int, status: str, message: str) -> None:
    code, text = seen["refused"][index]
    assert code == f"StatusCode.{status}"
    assert message in text


def test_asyncio(server: Running) -> None:
    seen = session("asyncio", server.grpc)
    assert seen["ids"] == [str(number) for number in range(20)]
    assert seen["words"] == [VERDICTS] * 20
    assert seen["streamed"] == [[str(number), "None"] for number in range(5)]
    assert seen["index"][0]["state"] == "READY"
    assert seen["config"] == "tiny"


def test_streaming(server: Running) -> None:
    seen = session("stream", server.grpc)
    assert seen["ids"] == [str(number) for number in range(30) if number % 10]
    assert seen["words"] == [VERDICTS] * 27
    assert seen["errors"] == ["input 'images': NaN; values in [0, 1] are wanted"] * 3
    assert seen["final"]
    assert seen["left"] == 0


def test_a_cancelled_stream_leaves_the_server_well(server: Running) -> None:
    assert session("cancel", server.grpc)["after"] == "after"
    assert server.process.poll() is None
