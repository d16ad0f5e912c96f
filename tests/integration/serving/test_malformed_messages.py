"""Bytes that are no message, and messages changed at random: bad input, never a server's error."""

import random
from collections import Counter

import grpc
import numpy as np
import pytest

from guard.serving.protocol import inference_pb2 as pb
from tests.integration.serving.running import PATIENCE, Running
from tests.unit.serving.tiny_bundle import image_of

INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
CALLS = (INFER, "/inference.GRPCInferenceService/ModelConfig", "/guard.v1.GuardService/Check")
GARBAGE = (b"\xff" * 10, b"\x0a\x02\xff\xfe", b"\x0a\x05abc")


def request() -> bytes:
    images = image_of(0.5, (2, 2))[np.newaxis]
    made = pb.ModelInferRequest(model_name="tiny", raw_input_contents=[images.tobytes()])
    made.inputs.add(name="images", datatype="FP32", shape=images.shape)
    made.parameters["threshold"].double_param = 1.0
    made.outputs.add(name="verdict")
    return made.SerializeToString()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("data", GARBAGE)
def test_a_call_without_a_message(channel: grpc.Channel, call: str, data: bytes) -> None:
    with pytest.raises(grpc.RpcError, match="the message does not decode") as caught:
        channel.unary_unary(call)(data, timeout=PATIENCE)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_stream_that_turns_into_garbage_answers_what_came_before(channel: grpc.Channel) -> None:
    answers = channel.stream_stream(STREAM)(iter([request(), GARBAGE[0]]), timeout=PATIENCE)
    first = pb.ModelStreamInferResponse.FromString(next(answers))
    assert first.infer_response.outputs[0].name == "verdict"
    with pytest.raises(grpc.RpcError, match="the message does not decode") as caught:
        next(answers)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_requests_changed_at_random(server: Running, channel: grpc.Channel) -> None:
    dice, whole = random.Random(0), request()
    ends: Counter[grpc.StatusCode] = Counter()
    call = channel.unary_unary(INFER)
    for _ in range(1000):
        data = bytearray(whole)
        for _ in range(dice.randrange(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        try:
            call(bytes(data[: dice.randrange(len(data)) if dice.random() < 0.2 else None]))
        except grpc.RpcError as error:
            ends[error.code()] += 1
        else:
            ends[grpc.StatusCode.OK] += 1
    codes = grpc.StatusCode
    assert set(ends) == {codes.OK, codes.INVALID_ARGUMENT, codes.NOT_FOUND}
    assert server.get("/readyz")[0] == 200
