"""How the server is run: probes, metrics, a clean end, and what it refuses to start with."""

import ast
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

import guard
from guard.client import GuardClient
from guard.errors import BadInput, CornerguardError
from guard.serving.protocol import guard_pb2 as pb
from guard.serving.protocol import inference_pb2
from guard.serving.protocol.guard_pb2_grpc import GuardServiceStub
from guard.serving.protocol.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.integration.serving.running import FREE_PORTS, PATIENCE, SERVE, Running, running
from tests.unit.serving.tiny_bundle import image_of, write_bundle

States = health_pb2.HealthCheckResponse
SERVICES = ("inference.GRPCInferenceService", "guard.v1.GuardService")


def health(channel: grpc.Channel, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE).status


@pytest.mark.parametrize("service", ["", *SERVICES])
def test_health(channel: grpc.Channel, service: str) -> None:
    assert health(channel, service) == States.SERVING


def test_reflection_lists_and_describes_the_services(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert set(database.get_services()) >= {*SERVICES, "grpc.health.v1.Health"}
    for service in SERVICES:
        file = database.FindFileContainingSymbol(service)
        assert f"{file.package}.{file.service[0].name}" == service


def test_pages(server: Running) -> None:
    assert server.get("/livez") == (200, "live\n")
    assert server.get("/readyz") == (200, "ready\n")
    assert server.get("/elsewhere")[0] == 404
    assert server.metrics()["cornerguard_ready"] == 1


def test_metrics_count_what_was_answered(server: Running, channel: grpc.Channel) -> None:
    before = server.metrics()
    with GuardClient(server.grpc) as client:
        for level in (0.2, 0.5, 0.8, 0.95):
            client.check(image_of(level))
        with pytest.raises(BadInput):
            client.check(b"junk")
    images = np.stack([image_of(level) for level in (0.2, 0.8, 0.8)])
    request = inference_pb2.ModelInferRequest(model_name="tiny")
    request.inputs.add(name="images", datatype="FP32", shape=images.shape)
    request.raw_input_contents.append(images.tobytes())
    GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=PATIENCE)
    after = server.metrics()
    grown = {name: after[name] - before.get(name, 0) for name in after if "_bucket" not in name}

    def of(name: str, verdict: str) -> float:
        return grown[f'cornerguard_{name}_total{{model="tiny",verdict="{verdict}"}}']

    verdicts = ("VALID", "CORNER_CASE", "UNVERIFIED")
    assert [of("images", verdict) for verdict in verdicts] == [3, 3, 1]
    assert [of("requests", verdict) for verdict in verdicts] == [2, 2, 1]
    assert grown['cornerguard_rejected_total{reason="invalid_argument"}'] == 1
    model = '{model="tiny"}'
    assert grown[f"cornerguard_inference_seconds_count{model}"] == 5
    assert grown[f"cornerguard_queue_seconds_count{model}"] == 5
    assert grown[f"cornerguard_batch_size_sum{model}"] == 7
    assert grown[f"cornerguard_joint_discrepancy_count{model}"] == 6  # one score is NaN
    assert grown[f"cornerguard_p_value_count{model}"] == 6
    (info,) = (name for name in after if name.startswith("cornerguard_bundle_info"))
    assert server.line["version"] in info


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_turns_readiness_off_then_drains(
    tiny_bundle: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """While notice is given the server answers on; then it refuses, and ends with 0."""
    settings = tmp_path / "serve.yaml"
    settings.write_text("shutdown: {notice: 1.0, grace: 5}\n")
    seen: list[str] = []
    refused = threading.Event()
    with running(tiny_bundle, "--config", str(settings)) as server:

        def call() -> None:
            with GuardClient(server.grpc) as client:
                while not refused.is_set():
                    try:
                        seen.append(client.check(image_of(0.5), timeout=3.0).verdict)
                    except CornerguardError as error:
                        seen.append(str(error))
                        refused.set()

        callers = [threading.Thread(target=call) for _ in range(3)]
        for caller in callers:
            caller.start()
        server.process.send_signal(number)
        deadline = time.monotonic() + PATIENCE
        while server.get("/readyz")[0] == 200:
            assert time.monotonic() < deadline
        assert server.get("/livez")[0] == 200
        with grpc.insecure_channel(server.grpc) as channel:
            assert {health(channel, service) for service in ("", *SERVICES)} == {States.NOT_SERVING}
        with GuardClient(server.grpc) as client:
            assert client.check(image_of(0.5)).verdict == "VALID"
        for caller in callers:
            caller.join(PATIENCE)
        assert server.process.wait(PATIENCE) == 0
    assert refused.is_set()
    assert [word for word in seen if word != "VALID" and "UNAVAILABLE" not in word] == []
    assert "VALID" in seen


def end_of(*command: str) -> tuple[int, str, str]:
    """Return the exit code and both streams of a server that must not start."""
    done = subprocess.run(
        [*SERVE, *command], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "tiny")
    graph = bytearray((bundle / "model.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(graph)
    code, output, errors = end_of(str(bundle), *FREE_PORTS)
    assert (code, output) == (2, "")
    assert len(errors.splitlines()) == 1
    assert "model.onnx: is altered" in errors


@pytest.mark.parametrize("option", ["--grpc-port", "--http-port"])
def test_a_port_in_use_is_named(tiny_bundle: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, output, errors = end_of(str(tiny_bundle), *FREE_PORTS, option, port)
    assert (code, output) == (1, "")
    assert f"127.0.0.1:{port}: " in errors
    assert "Traceback" not in errors


def test_an_overloaded_server_refuses_at_once(tmp_path: Path) -> None:
    """One run never ends, two images are ready for the next, two wait: there is no more room."""
    bundle = write_bundle(tmp_path / "tiny", black="hangs")
    limits = [f"--set={key}" for key in ("batching.max_batch=2", "batching.queue=2")]
    with (
        running(bundle, *limits, "--set=shutdown.grace=0") as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        check = GuardServiceStub(channel).Check
        deadline = time.monotonic() + PATIENCE
        calls = [check.future(request_of(0.0))]
        while not server.metrics()["cornerguard_in_flight"]:
            assert time.monotonic() < deadline
        calls += [check.future(request_of(0.5)) for _ in range(20)]
        while sum(call.done() for call in calls) < 16:
            assert time.monotonic() < deadline
        for call in (call for call in calls if call.done()):
            assert call.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert call.details() == "2 of at most 2 images wait"
            assert int(dict(call.trailing_metadata())["grpc-retry-pushback-ms"]) >= 10
        with pytest.raises(grpc.RpcError) as caught:  # what nobody reads need not be a message
            channel.unary_unary("/guard.v1.GuardService/Check")(b"\xff", timeout=PATIENCE)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        rejected = server.metrics()['cornerguard_rejected_total{reason="resource_exhausted"}']
        assert rejected == 17


def request_of(level: float) -> pb.CheckRequest:
    image = image_of(level)
    tensor = pb.Tensor(data=image.tobytes(), datatype="FP32", shape=image.shape)
    return pb.CheckRequest(tensor=tensor)


FORBIDDEN = {"torch", "torchvision", "sklearn", "onnx", "offline", "export"}


def test_serving_imports_nothing_of_the_toolchain() -> None:
    modules = "guard.serving.server, guard.serving.local, guard.client, guard.cli"
    code = f"import sys, {modules}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert "onnxruntime" in done.stdout.split()
    assert FORBIDDEN & set(done.stdout.split()) == set()


def test_no_serving_file_names_the_toolchain() -> None:
    root = Path(guard.__file__).parent
    for path in (*root.glob("serving/**/*.py"), root / "client.py", root / "bundle.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {name.partition(".")[0] for name in names} & FORBIDDEN, path
