"""The Open Inference Protocol against a server process, with plain stubs."""

import io
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from guard.serving.protocol import inference_pb2 as pb
from guard.serving.protocol.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.integration.serving.running import PATIENCE, Running
from tests.unit.serving.tiny_bundle import expected_score, image_of

IMAGES = np.stack([image_of(level) for level in (0.2, 0.5, 0.8, 0.95)])
VERDICTS = [b"VALID", b"VALID", b"CORNER_CASE", b"UNVERIFIED"]
OUTPUTS = {
    "logits": ("FP32", [4, 3]),
    "label": ("INT64", [4]),
    "discrepancy": ("FP32", [4, 2]),
    "score": ("FP32", [4]),
    "p_value": ("FP32", [4]),
    "valid": ("BOOL", [4]),
    "verdict": ("BYTES", [4]),
}


def prefixed(*items: bytes) -> bytes:
    return b"".join(len(item).to_bytes(4, "little") + item for item in items)


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray((image.transpose(1, 2, 0) * 255).round().astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def raw_request(images: np.ndarray = IMAGES, **fields: Any) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="tiny", id="42", **fields)
    request.inputs.add(name="images", datatype="FP32", shape=images.shape)
    request.raw_input_contents.append(images.tobytes())
    return request


def infer(channel: grpc.Channel, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    return GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=PATIENCE)


def raw_output(response: pb.ModelInferResponse, name: str) -> bytes:
    names = [output.name for output in response.outputs]
    return response.raw_output_contents[names.index(name)]


def test_raw_in_raw_out(server: Running, channel: grpc.Channel) -> None:
    response = infer(channel, raw_request())
    assert (response.model_name, response.id) == ("tiny", "42")
    assert response.model_version == server.line["version"]
    seen = {out.name: (out.datatype, list(out.shape)) for out in response.outputs}
    assert seen == OUTPUTS
    score = np.frombuffer(raw_output(response, "score"), "<f4")
    np.testing.assert_allclose(score[:3], expected_score(IMAGES[:3]), atol=1e-5)
    assert np.isnan(score[3])
    assert np.frombuffer(raw_output(response, "valid"), "?").tolist() == [True, True, False, False]
    logits = np.frombuffer(raw_output(response, "logits"), "<f4").reshape(4, 3)
    np.testing.assert_allclose(logits, IMAGES.mean(axis=(2, 3)) * 10, rtol=1e-5)
    label = np.frombuffer(raw_output(response, "label"), "<i8")
    np.testing.assert_array_equal(label, logits.argmax(axis=1))
    assert raw_output(response, "verdict") == prefixed(*VERDICTS)


def test_typed_in_typed_out(channel: grpc.Channel) -> None:
    request = pb.ModelInferRequest(model_name="tiny")
    contents = pb.InferTensorContents(fp32_contents=IMAGES.ravel().tolist())
    request.inputs.add(name="images", datatype="FP32", shape=IMAGES.shape, contents=contents)
    response = infer(channel, request)
    assert not response.raw_output_contents
    by_name = {output.name: output.contents for output in response.outputs}
    score = np.array(by_name["score"].fp32_contents)
    np.testing.assert_allclose(score[:3], expected_score(IMAGES[:3]), atol=1e-5)
    assert list(by_name["valid"].bool_contents) == [True, True, False, False]
    assert list(by_name["verdict"].bytes_contents) == VERDICTS


def test_encoded_images_as_bytes(channel: grpc.Channel) -> None:
    files = [png(image) for image in IMAGES]
    request = pb.ModelInferRequest(model_name="tiny", raw_input_contents=[prefixed(*files)])
    request.inputs.add(name="images", datatype="BYTES", shape=[len(files)])
    response = infer(channel, request)
    pixels = (IMAGES[:3] * 255).round() / 255
    score = np.frombuffer(raw_output(response, "score"), "<f4")
    np.testing.assert_allclose(score[:3], expected_score(pixels), atol=1e-5)


def test_chosen_outputs_in_their_order(channel: grpc.Channel) -> None:
    request = raw_request()
    for name in ("verdict", "score"):
        request.outputs.add(name=name)
    assert [output.name for output in infer(channel, request).outputs] == ["verdict", "score"]


def test_classes_of_an_output_and_nothing_of_one_that_is_undecided(channel: grpc.Channel) -> None:
    request = raw_request(IMAGES[2:])
    request.outputs.add(name="discrepancy").parameters["classification"].int64_param = 9
    (output,) = infer(channel, request).outputs
    assert (output.datatype, list(output.shape)) == ("BYTES", [2, 2])
    request.ClearField("raw_input_contents")
    request.inputs[0].contents.fp32_contents.extend(IMAGES[2:].ravel().tolist())
    (output,) = infer(channel, request).outputs
    decided, undecided = np.array(output.contents.bytes_contents).reshape(2, 2).tolist()
    assert [item.split(b":")[1:] for item in decided] == [[b"0", b"early"], [b"1", b"late"]]
    assert undecided[1] == b"nan:1:late"


def test_threshold_as_parameter_and_as_input(channel: grpc.Channel) -> None:
    by_parameter = raw_request()
    by_parameter.parameters["threshold"].double_param = 1.0
    by_input = raw_request()
    by_input.inputs.add(name="threshold", datatype="FP32", shape=[1])
    by_input.raw_input_contents.append(np.array([1], np.float32).tobytes())
    for request in (by_parameter, by_input):
        valid = np.frombuffer(raw_output(infer(channel, request), "valid"), "?")
        assert valid.tolist() == [True, True, True, False]


def test_a_failed_run_is_unverified_and_not_an_error(channel: grpc.Channel) -> None:
    """Nor does it cost the other images of the request their verdicts."""
    response = infer(channel, raw_request(np.stack([image_of(0.0), image_of(0.5)])))
    assert raw_output(response, "verdict") == prefixed(b"UNVERIFIED", b"VALID")
    assert np.frombuffer(raw_output(response, "label"), "<i8").tolist() == [-1, 1]
    assert np.frombuffer(raw_output(response, "valid"), "?").tolist() == [False, True]


def test_a_request_whose_time_is_up_is_not_run(channel: grpc.Channel, server: Running) -> None:
    before = server.metrics()['cornerguard_batch_size_count{model="tiny"}']
    request = raw_request()
    request.parameters["timeout"].int64_param = 1  # microsecond
    with pytest.raises(grpc.RpcError, match="the deadline passed") as caught:
        infer(channel, request)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.metrics()['cornerguard_batch_size_count{model="tiny"}'] == before


def changed(**fields: Any) -> pb.ModelInferRequest:
    """Return a request whose input is changed by `fields`."""
    request = raw_request()
    fresh = {"name": "images", "datatype": "FP32", "shape": IMAGES.shape} | fields
    del request.inputs[:]
    request.inputs.add(**fresh)
    return request


def wanting(output: str, **parameters: Any) -> pb.ModelInferRequest:
    request = raw_request()
    request.outputs.add(name=output, parameters=parameters)
    return request


def told(name: str, **value: Any) -> pb.ModelInferRequest:
    return raw_request(parameters={name: pb.InferParameter(**value)})


def files(*items: bytes) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="tiny", raw_input_contents=[prefixed(*items)])
    request.inputs.add(name="images", datatype="BYTES", shape=[len(items)])
    return request


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (pb.ModelInferRequest(model_name="tiny"), "input 'images': missing"),
        (changed(name="image"), "input 'image': unknown; did you mean 'images'"),
        (changed(datatype="FP64"), "input 'images': type 'FP64'"),
        (changed(shape=[4, 3, 8, 9]), r"input 'images': 3072 bytes; FP32 \[4, 3, 8, 9\]"),
        (changed(shape=[4, 1, 8, 24]), r"shape \[4, 1, 8, 24\]; \[batch, 3, any, any\] is wanted"),
        (raw_request(np.zeros((33, 3, 2, 2), np.float32)), "33 images; at most 32 are allowed"),
        (raw_request(IMAGES + 1), "input 'images': values from"),
        (raw_request(IMAGES * np.float32(np.nan)), "input 'images': NaN"),
        (wanting("scores"), "output 'scores': unknown; did you mean 'score'"),
        (wanting("score", classification=pb.InferParameter(int64_param=1)), "has no classes"),
        (wanting("logits", classes=pb.InferParameter(int64_param=1)), "'classes'; only"),
        (told("treshold", double_param=1.0), "parameter 'treshold': unknown; did you mean"),
        (told("threshold", string_param="low"), "parameter 'threshold': 'low'; a finite number"),
        (told("threshold", double_param=1e39), "threshold: 1e.39; a finite float32"),
        (files(png(IMAGES[0]), b"junk"), r"input 'images'\[1\]: neither a JPEG nor a PNG"),
        (files(png(IMAGES[0]), png(image_of(0.5, (9, 8)))), "sizes 8×8, 8×9; images of one"),
        (files(*[b"junk"] * 33), "33 images; at most 32 are allowed"),
    ],
)
def test_bad_input_is_named(
    channel: grpc.Channel, request_: pb.ModelInferRequest, message: str
) -> None:
    with pytest.raises(grpc.RpcError, match=message) as caught:
        infer(channel, request_)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [("tinny", "", "did you mean 'tiny'"), ("tiny", "9", "not '9'")],
)
def test_other_models_are_not_found(
    channel: grpc.Channel, name: str, version: str, message: str
) -> None:
    stub = GRPCInferenceServiceStub(channel)
    for call in (
        lambda: stub.ModelInfer(pb.ModelInferRequest(model_name=name, model_version=version)),
        lambda: stub.ModelMetadata(pb.ModelMetadataRequest(name=name, version=version)),
    ):
        with pytest.raises(grpc.RpcError, match=message) as caught:
            call()
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert not stub.ModelReady(pb.ModelReadyRequest(name=name, version=version)).ready


def test_a_message_over_the_limit_is_refused(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        infer(channel, raw_request(np.zeros((1, 3, 1200, 1200), np.float32)))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_metadata_and_readiness(server: Running, channel: grpc.Channel) -> None:
    stub = GRPCInferenceServiceStub(channel)
    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    assert stub.ModelReady(pb.ModelReadyRequest(name="tiny")).ready
    assert stub.ServerMetadata(pb.ServerMetadataRequest()).name == "cornerguard"
    model = stub.ModelMetadata(pb.ModelMetadataRequest(name="tiny"))
    assert (model.name, list(model.versions)) == ("tiny", [server.line["version"]])
    inputs = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in model.inputs}
    assert inputs == {"images": ("FP32", [-1, 3, -1, -1]), "threshold": ("FP32", [-1, 1])}
    outputs = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in model.outputs}
    assert outputs == {name: (kind, [-1, *shape[1:]]) for name, (kind, shape) in OUTPUTS.items()}
