"""The log of a running server: lines of JSON, with the ids that callers know."""

import json
import re
import uuid
from pathlib import Path
from typing import Any

import grpc
import pytest

from guard.serving.protocol import guard_pb2 as pb
from guard.serving.protocol import inference_pb2
from guard.serving.protocol.guard_pb2_grpc import GuardServiceStub
from guard.serving.protocol.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.integration.serving.running import PATIENCE, running
from tests.unit.serving.tiny_bundle import image_of


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def request(**fields: Any) -> pb.CheckRequest:
    tensor = pb.Tensor(datatype="FP32", shape=[3, 8, 8], data=image_of(0.5).tobytes())
    return pb.CheckRequest(tensor=tensor, **fields)


def test_requests_are_logged_with_their_ids(tiny_bundle: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        running(tiny_bundle, "--set=logs.access=true", log=log) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        check = GuardServiceStub(channel).Check
        answer, call = check.with_call(
            request(request_id="frame 7"),
            metadata=(("x-request-id", "drive-1"),),
            timeout=PATIENCE,
        )
        assert dict(call.trailing_metadata())["x-request-id"] == "drive-1"
        assert answer.request_id == "frame 7"  # the message's own field says its own
        answer, call = check.with_call(request(), timeout=PATIENCE)
        made = dict(call.trailing_metadata())["x-request-id"]
        assert answer.request_id == made
        with pytest.raises(grpc.RpcError) as caught:
            check(pb.CheckRequest(request_id="bad"), timeout=PATIENCE)
        assert dict(caught.value.trailing_metadata())["x-request-id"] == "bad"
        infer = GRPCInferenceServiceStub(channel).ModelInfer
        with pytest.raises(grpc.RpcError):
            infer(inference_pb2.ModelInferRequest(id="9", model_name="other"), timeout=PATIENCE)
    requests = [line for line in lines_of(log) if line["message"] == "request"]
    check_path, infer_path = (
        "/guard.v1.GuardService/Check",
        ("/inference.GRPCInferenceService/ModelInfer"),
    )
    assert [(line["method"], line["status"], line["request_id"]) for line in requests] == [
        (check_path, "OK", "drive-1"),
        (check_path, "OK", made),
        (check_path, "INVALID_ARGUMENT", "bad"),
        (infer_path, "NOT_FOUND", "9"),
    ]
    for line in requests:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert line["level"] == "info"
        assert 0 < line["milliseconds"] < PATIENCE * 1000
        assert line["client"].startswith("ipv4:127.0.0.1:")


def test_what_fails_in_a_request_bears_its_id(tiny_bundle: Path, tmp_path: Path) -> None:
    """An id cannot break out of its line, and health calls are not requests."""
    log, odd = tmp_path / "log", f'{uuid.uuid4().hex}","level":"forged'
    with (
        running(tiny_bundle, "--set=logs.access=true", log=log) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        check = GuardServiceStub(channel).Check
        check(request(), metadata=(("x-request-id", odd),), timeout=PATIENCE)
        GRPCInferenceServiceStub(channel).ServerLive(
            inference_pb2.ServerLiveRequest(), timeout=PATIENCE
        )
    (line,) = (line for line in lines_of(log) if line["message"] == "request")
    assert (line["request_id"], line["level"]) == (odd, "info")


def test_by_default_only_events_are_logged(tiny_bundle: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(tiny_bundle, log=log) as server, grpc.insecure_channel(server.grpc) as channel:
        GuardServiceStub(channel).Check(request(), timeout=PATIENCE)
    loaded, stopping = (line["message"] for line in lines_of(log))
    assert loaded == f"model tiny: version {server.line['version']} serves"
    assert stopping == "stopping on SIGTERM"
    quiet = tmp_path / "quiet"
    with running(tiny_bundle, "--set=logs.level=warning", log=quiet):
        pass
    assert quiet.read_text() == ""


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU")
def test_workers_log_lines_of_the_same_kind(tiny_bundle: Path, tmp_path: Path) -> None:
    fallback = ("--set=instances.accelerator=cuda", "--set=instances.cpu_fallback=true")
    log = tmp_path / "log"
    with running(tiny_bundle, *fallback, "--set=logs.level=warning", log=log):
        pass
    (line,) = lines_of(log)
    assert (line["level"], line["logger"]) == ("warning", "guard.serving.worker")
    assert line["message"].endswith("; running on the CPU, as cpu_fallback allows")


@pytest.mark.parametrize(("level", "reason"), [(0.95, "not finite: "), (0.0, "the run failed: ")])
def test_what_is_unverified_is_logged_with_the_reason(
    tiny_bundle: Path, tmp_path: Path, level: float, reason: str
) -> None:
    log = tmp_path / "log"
    with (
        running(tiny_bundle, "--set=logs.level=error", log=log) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        asked = request()
        asked.tensor.data = image_of(level).tobytes()
        answer = GuardServiceStub(channel).Check(asked, timeout=PATIENCE)
        assert answer.verdict == pb.UNVERIFIED
    (line,) = lines_of(log)
    assert line["message"] == f"1 of 1 images UNVERIFIED: {answer.reason}"
    assert answer.reason.startswith(reason)
