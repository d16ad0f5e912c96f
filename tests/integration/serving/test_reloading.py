"""Bundles replaced under a running server: SIGHUP, polling, and the repository's calls."""

import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest

from guard.client import GuardClient
from guard.serving.protocol import extensions_pb2 as ext
from guard.serving.protocol import inference_pb2 as pb
from guard.serving.protocol.inference_pb2_grpc import GRPCInferenceServiceStub
from guard.storage import replace_directory
from tests.integration.serving.running import PATIENCE, Running, running
from tests.unit.serving.tiny_bundle import image_of, write_bundle


def replace(bundle: Path, threshold: float) -> None:
    """Put another bundle in place, as a release does: written aside, then renamed."""
    with replace_directory(bundle) as aside:
        aside.rmdir()
        write_bundle(aside, threshold=threshold)


def damage(bundle: Path) -> None:
    """Put a bundle in place whose graph is not that of its manifest."""
    with replace_directory(bundle) as aside:
        aside.rmdir()
        write_bundle(aside, threshold=7.0)
        graph = bytearray((aside / "model.onnx").read_bytes())
        graph[len(graph) // 2] ^= 1
        (aside / "model.onnx").write_bytes(graph)


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def threshold_of(server: Running, model: str = "") -> float:
    with GuardClient(server.grpc, model) as client:
        return client.check(image_of(0.5)).threshold


def index(server: Running) -> dict[str, tuple[str, str]]:
    with grpc.insecure_channel(server.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)
        models = stub.RepositoryIndex(ext.RepositoryIndexRequest(), timeout=PATIENCE).models
        return {model.name: (model.state, model.reason) for model in models}


def reloads(server: Running, outcome: str, model: str = "tiny") -> float:
    name = f'cornerguard_reloads_total{{model="{model}",outcome="{outcome}"}}'
    return server.metrics().get(name, 0)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "tiny")


def settings(tmp_path: Path, text: str) -> tuple[str, str]:
    (tmp_path / "serve.yaml").write_text(text)
    return "--config", str(tmp_path / "serve.yaml")


def test_sighup_loads_what_was_replaced_and_refuses_what_is_damaged(bundle: Path) -> None:
    with running(bundle) as server:
        assert threshold_of(server) == 0.0
        replace(bundle, 0.5)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: threshold_of(server) == 0.5)
        infos = [name for name in server.metrics() if name.startswith("cornerguard_bundle_info")]
        until(lambda: len([n for n in server.metrics() if "bundle_info" in n]) == 1)
        assert infos
        damage(bundle)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: reloads(server, "failed") == 1)
        state, reason = index(server)["tiny"]
        assert (state, "model.onnx: is altered" in reason) == ("READY", True)
        assert threshold_of(server) == 0.5
        assert server.get("/readyz")[0] == 200
        with grpc.insecure_channel(server.grpc) as channel:
            load = GRPCInferenceServiceStub(channel).RepositoryModelLoad
            with pytest.raises(grpc.RpcError, match="is altered") as caught:
                load(ext.RepositoryModelLoadRequest(model_name="tiny"), timeout=PATIENCE)
        assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        replace(bundle, 0.25)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: threshold_of(server) == 0.25)
        assert index(server)["tiny"] == ("READY", "")


def test_polling_sees_a_replaced_bundle_and_tries_a_damaged_one_once(
    bundle: Path, tmp_path: Path
) -> None:
    with running(bundle, *settings(tmp_path, "reload: {poll: 0.05}\n")) as server:
        assert threshold_of(server) == 0.0
        damage(bundle)
        until(lambda: reloads(server, "failed") == 1)
        time.sleep(0.3)
        assert reloads(server, "failed") == 1
        shutil.rmtree(bundle)
        time.sleep(0.2)
        assert threshold_of(server) == 0.0
        replace(bundle, 0.5)
        until(lambda: threshold_of(server) == 0.5)


def test_no_request_is_lost_to_reloads(bundle: Path) -> None:
    """Each answer is whole: its version and its threshold are of one bundle, never of two."""
    seen: set[tuple[str, float]] = set()
    failures: list[str] = []
    done = threading.Event()

    def call(target: str) -> None:
        with grpc.insecure_channel(target) as channel:
            stub = GRPCInferenceServiceStub(channel)
            request = pb.ModelInferRequest(model_name="tiny")
            images = np.stack([image_of(level) for level in (0.2, 0.5, 0.8)])
            request.inputs.add(name="images", datatype="FP32", shape=images.shape)
            request.raw_input_contents.append(images.tobytes())
            request.outputs.add(name="valid")
            while not done.is_set():
                try:
                    answer = stub.ModelInfer(request, timeout=PATIENCE)
                except grpc.RpcError as error:
                    failures.append(str(error))
                    return
                seen.add((answer.model_version, sum(answer.raw_output_contents[0])))

    with running(bundle) as server, grpc.insecure_channel(server.grpc) as channel:
        callers = [threading.Thread(target=call, args=(server.grpc,)) for _ in range(3)]
        for caller in callers:
            caller.start()
        stub = GRPCInferenceServiceStub(channel)
        load = ext.RepositoryModelLoadRequest(model_name="tiny")
        for turn in range(8):
            replace(bundle, 1.0 if turn % 2 else 0.0)  # at 1.0 the third image is valid too
            stub.RepositoryModelLoad(load, timeout=PATIENCE)
        done.set()
        for caller in callers:
            caller.join(PATIENCE)
        assert reloads(server, "loaded") >= 8
    assert failures == []
    assert len(seen) == 2
    assert {valid for _, valid in seen} == {2, 3}


def test_several_models_load_and_unload(tmp_path: Path) -> None:
    first, second = write_bundle(tmp_path / "first"), write_bundle(tmp_path / "b", threshold=0.5)
    options = settings(tmp_path, f"models: {{second: {{bundle: {second}}}}}\n")
    with running(first, *options) as server, grpc.insecure_channel(server.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)
        assert [threshold_of(server, name) for name in ("first", "second")] == [0.0, 0.5]
        assert {entry["model"] for entry in server.line["models"]} == {"first", "second"}
        with pytest.raises(grpc.RpcError, match="no model ''"):
            stub.ModelMetadata(pb.ModelMetadataRequest())
        stub.RepositoryModelUnload(ext.RepositoryModelUnloadRequest(model_name="second"))
        assert index(server) == {"first": ("READY", ""), "second": ("UNAVAILABLE", "unloaded")}
        ready = stub.RepositoryIndex(ext.RepositoryIndexRequest(ready=True)).models
        assert [model.name for model in ready] == ["first"]
        assert not stub.ModelReady(pb.ModelReadyRequest(name="second")).ready
        assert stub.ServerReady(pb.ServerReadyRequest()).ready
        with pytest.raises(grpc.RpcError, match="'second' is not loaded: unloaded") as caught:
            stub.ModelStatistics(ext.ModelStatisticsRequest(name="second"))
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        (left,) = stub.ModelStatistics(ext.ModelStatisticsRequest()).model_stats
        assert left.name == "first"
        stub.RepositoryModelLoad(ext.RepositoryModelLoadRequest(model_name="second"))
        assert threshold_of(server, "second") == 0.5


@pytest.mark.parametrize(
    ("call", "code", "message"),
    [
        ({"repository_name": "r", "model_name": "tiny"}, "INVALID_ARGUMENT", "only one"),
        ({"model_name": ""}, "INVALID_ARGUMENT", "model_name: missing"),
        ({"model_name": "/etc"}, "NOT_FOUND", "no model '/etc'"),
        (
            {"model_name": "tiny", "parameters": {"file:1/model.onnx": {"bytes_param": b"x"}}},
            "INVALID_ARGUMENT",
            "'file:1/model.onnx': not taken",
        ),
    ],
)
def test_what_load_refuses(
    channel: grpc.Channel, call: dict[str, object], code: str, message: str
) -> None:
    stub = GRPCInferenceServiceStub(channel)
    with pytest.raises(grpc.RpcError, match=message) as caught:
        stub.RepositoryModelLoad(ext.RepositoryModelLoadRequest(**call), timeout=PATIENCE)
    assert caught.value.code().name == code


def test_an_operator_can_forbid_both(bundle: Path, tmp_path: Path) -> None:
    options = settings(tmp_path, "reload: {api: false}\n")
    with running(bundle, *options) as server, grpc.insecure_channel(server.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)
        for call in (
            lambda: stub.RepositoryModelLoad(ext.RepositoryModelLoadRequest(model_name="tiny")),
            lambda: stub.RepositoryModelUnload(ext.RepositoryModelUnloadRequest(model_name="tiny")),
        ):
            with pytest.raises(grpc.RpcError, match=r"reload\.api is off") as caught:
                call()
            assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
