"""The calls that perf_analyzer makes, in its order, and what it works out from the answers.

Triton's load generator ships in its container images alone; this follows its published source
(`perf_analyzer.cc`, `model_parser.cc`, `infer_data_manager.cc`, `inference_profiler.cc`).
"""

import grpc
import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict

from guard.serving.protocol import extensions_pb2 as ext
from guard.serving.protocol import inference_pb2 as pb
from guard.serving.protocol.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.integration.serving.running import PATIENCE

SIZES = {"images": [3, 8, 8]}
"""`--shape images:3,8,8`, which a model of any image size needs."""
LEVELS = {"images": 0.5, "threshold": 0.0}
"""`--input-data FILE`: the random bytes that it would send are no image."""


def statistics(stub: GRPCInferenceServiceStub) -> dict[tuple[str, str], ext.ModelStatistics]:
    answer = stub.ModelStatistics(ext.ModelStatisticsRequest(name="tiny"), timeout=PATIENCE)
    return {(one.name, one.version): one for one in answer.model_stats}


@pytest.mark.parametrize("batch", [1, 4])
def test_a_measurement(channel: grpc.Channel, batch: int) -> None:
    stub = GRPCInferenceServiceStub(channel)
    metadata = stub.ModelMetadata(pb.ModelMetadataRequest(name="tiny"), timeout=PATIENCE)
    answer = stub.ModelConfig(ext.ModelConfigRequest(name="tiny"), timeout=PATIENCE)
    config = MessageToDict(
        answer.config, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    assert "sequence_batching" not in config
    assert "ensemble_scheduling" not in config
    assert config["model_transaction_policy"]["decoupled"] is False
    assert batch <= config["max_batch_size"]
    names = {tensor.name for tensor in metadata.inputs}
    assert {tensor["name"] for tensor in config["input"]} == names
    outputs = {tensor.name for tensor in metadata.outputs}
    assert {tensor["name"] for tensor in config["output"]} == outputs
    stub.SystemSharedMemoryUnregister(ext.SystemSharedMemoryUnregisterRequest(), timeout=PATIENCE)
    stub.CudaSharedMemoryUnregister(ext.CudaSharedMemoryUnregisterRequest(), timeout=PATIENCE)
    server = stub.ServerMetadata(pb.ServerMetadataRequest(), timeout=PATIENCE)
    assert "statistics" in server.extensions

    before = statistics(stub)
    request = pb.ModelInferRequest(model_name="tiny")
    for tensor in metadata.inputs:
        shape = [batch, *SIZES.get(tensor.name, tensor.shape[1:])]
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
        request.raw_input_contents.append(np.full(shape, LEVELS[tensor.name], np.float32).tobytes())
    for tensor in metadata.outputs:
        request.outputs.add(name=tensor.name)
    for _ in range(3):
        response = stub.ModelInfer(request, timeout=PATIENCE)
        assert {tensor.name for tensor in response.outputs} == outputs
    after = statistics(stub)

    # The version whose queue grew is read as a number, and that number is looked up again.
    grown = [
        int(version)
        for (name, version), stats in after.items()
        if stats.inference_stats.queue.count > before[name, version].inference_stats.queue.count
    ]
    (version,) = grown
    key = ("tiny", str(version))
    old, new = before[key], after[key]
    assert new.inference_stats.success.count - old.inference_stats.success.count == 3
    assert new.inference_count - old.inference_count == 3 * batch
    assert 1 <= new.execution_count - old.execution_count <= 3
    assert new.inference_stats.success.ns > old.inference_stats.success.ns
    assert new.inference_stats.compute_infer.ns > old.inference_stats.compute_infer.ns


def test_thresholds_that_differ_in_one_request_are_refused(channel: grpc.Channel) -> None:
    request = pb.ModelInferRequest(model_name="tiny")
    for name, shape, values in (
        ("images", [2, 3, 8, 8], np.full((2, 3, 8, 8), 0.5, np.float32)),
        ("threshold", [2, 1], np.array([0, 1], np.float32)),
    ):
        request.inputs.add(name=name, datatype="FP32", shape=shape)
        request.raw_input_contents.append(values.tobytes())
    with pytest.raises(grpc.RpcError, match="differs between images") as caught:
        GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=PATIENCE)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
