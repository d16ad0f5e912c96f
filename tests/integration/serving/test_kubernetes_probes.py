"""Strangers that know nothing but the address: probes as of Kubernetes, and calls as of grpcurl."""

import json
import subprocess
import sys
from base64 import b64encode
from typing import Any

import pytest

from tests.integration.serving.running import PATIENCE, Running
from tests.unit.serving.tiny_bundle import expected_score, image_of

PROBE = """
import sys, grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
# As grpc_health_probe and the kubelet do: one call, one exit code.
address, service = sys.argv[1:]
stub = health_pb2_grpc.HealthStub(grpc.insecure_channel(address))
try:
    answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
except grpc.RpcError as error:
    print(error.code().name)
    sys.exit(3 if error.code() == grpc.StatusCode.UNIMPLEMENTED else 2)
first = next(stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=20))
print(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
assert not {name for name in sys.modules if name.partition('.')[0] == 'guard'}
sys.exit(0 if answer.status == first.status == health_pb2.HealthCheckResponse.SERVING else 4)
"""

CURL = """
import json, sys, grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
# As grpcurl does: everything that is known of the service comes from the server's reflection.
address, path = sys.argv[1:]
channel = grpc.insecure_channel(address)
database = ProtoReflectionDescriptorDatabase(channel)
pool = descriptor_pool.DescriptorPool(database)
service, _, name = path.partition("/")
assert service in database.get_services()
method = pool.FindServiceByName(service).FindMethodByName(name)
ask = message_factory.GetMessageClass(method.input_type)
tell = message_factory.GetMessageClass(method.output_type)
call = channel.unary_unary(f"/{path}", ask.SerializeToString, tell.FromString)
try:
    answer = call(json_format.ParseDict(json.load(sys.stdin), ask()), timeout=20)
    print(json_format.MessageToJson(answer, preserving_proto_field_name=True))
except grpc.RpcError as error:
    print(json.dumps({"code": error.code().name, "details": error.details()}))
assert not {name for name in sys.modules if name.partition('.')[0] == 'guard'}
"""


@pytest.mark.parametrize(
    ("service", "code", "word"),
    [
        ("", 0, "SERVING"),
        ("guard.v1.GuardService", 0, "SERVING"),
        ("inference.GRPCInferenceService", 0, "SERVING"),
        ("liveness", 0, "SERVING"),
        ("no.such.Service", 2, "NOT_FOUND"),
    ],
)
def test_a_probe(server: Running, service: str, code: int, word: str) -> None:
    command = [sys.executable, "-c", PROBE, server.grpc, service]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.stdout.strip(), done.returncode) == (word, code), done.stderr


def curl(server: Running, path: str, message: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-c", CURL, server.grpc, path]
    done = subprocess.run(
        command,
        input=json.dumps(message),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return dict(json.loads(done.stdout))


def test_a_check_by_reflection_alone(server: Running) -> None:
    image = image_of(0.8)
    tensor = {"datatype": "FP32", "shape": [3, 8, 8], "data": _base64(image.tobytes())}
    answer = curl(server, "guard.v1.GuardService/Check", {"model": "tiny", "tensor": tensor})
    assert answer["verdict"] == "CORNER_CASE"
    assert answer["score"] == pytest.approx(expected_score(image[None])[0], abs=1e-5)
    assert answer["class_name"] == "green"


def test_an_inference_and_a_mistake_by_reflection_alone(server: Running) -> None:
    values = image_of(0.5).ravel().tolist()
    images = {"name": "images", "datatype": "FP32", "shape": [1, 3, 8, 8]}
    message = {
        "model_name": "tiny",
        "inputs": [{**images, "contents": {"fp32_contents": values}}],
        "outputs": [{"name": "verdict"}],
    }
    path = "inference.GRPCInferenceService/ModelInfer"
    (output,) = curl(server, path, message)["outputs"]
    assert output["contents"]["bytes_contents"] == [_base64(b"VALID")]
    wrong = curl(server, path, message | {"model_name": "tinny"})
    assert wrong["code"] == "NOT_FOUND"
    assert "did you mean 'tiny'" in wrong["details"]


def _base64(data: bytes) -> str:

    return b64encode(data).decode()
