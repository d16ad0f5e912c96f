"""Valid requests of every method, in every way to give an image, as fuzzing begins from them."""

from collections.abc import Sequence

import numpy as np
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from guard.serving.protocol import guard_pb2, inference_pb2

__all__ = ["methods", "valid_requests"]

SPARED = {"RepositoryModelLoad", "RepositoryModelUnload"}
"""They do to the model what they are asked to, so that nothing would be left to be asked."""
FIELDS = {"model": "tiny", "model_name": "tiny", "name": "tiny", "threshold": 0.5}
Image = np.ndarray


def methods() -> list[MethodDescriptor]:
    """Return the methods of both services."""
    services = (
        inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"],
        guard_pb2.DESCRIPTOR.services_by_name["GuardService"],
    )
    found = [method for service in services for method in service.methods]
    return [method for method in found if method.name not in SPARED]


def valid_requests(method: MethodDescriptor, image: Image, file: bytes) -> list[Sequence[Message]]:
    """Return what a method may be asked: each a stream, of one message where it takes no more.

    Args:
        method: of a service of the model `tiny`.
        image: float32 `[3, height, width]`.
        file: a PNG or JPEG file.
    """
    kind = GetMessageClass(method.input_type)
    if kind is inference_pb2.ModelInferRequest:
        requests = _infer_requests(image, file)
        return [[one, one, one] if method.client_streaming else [one] for one in requests]
    tensor = guard_pb2.Tensor(datatype="FP32", shape=image.shape, data=image.tobytes())
    if method.name == "Watch":
        begin = kind(settings=guard_pb2.WatchSettings(stream="camera", model="tiny", restart=True))
        frames = (
            guard_pb2.Frame(sequence=1, capture_us=40_000, encoded=file),
            guard_pb2.Frame(sequence=2, capture_us=80_000, tensor=tensor),
        )
        return [[begin, *(kind(frame=frame) for frame in frames)]]
    named = {field.name for field in method.input_type.fields}
    fields = {name: value for name, value in FIELDS.items() if name in named}
    if "encoded" in named:
        return [[kind(encoded=file, **fields)], [kind(tensor=tensor, **fields)]]
    return [[kind(**fields)]] if named else []


def _infer_requests(image: Image, file: bytes) -> list[Message]:
    shape = [1, *image.shape]
    found: list[Message] = []
    for datatype, sizes, raw in (
        ("FP32", shape, image.tobytes()),
        ("FP32", [2, *image.shape], 2 * image.tobytes()),
        ("FP16", shape, image.astype(np.float16).tobytes()),
        ("UINT8", shape, (image * 255).astype(np.uint8).tobytes()),
        ("BYTES", [1], len(file).to_bytes(4, "little") + file),
    ):
        request = inference_pb2.ModelInferRequest(model_name="tiny", raw_input_contents=[raw])
        request.inputs.add(name="images", datatype=datatype, shape=sizes)
        request.parameters["threshold"].double_param = 0.5
        found.append(request)
    typed = inference_pb2.ModelInferRequest(model_name="tiny")
    typed.inputs.add(name="images", datatype="FP32", shape=shape)
    typed.inputs[0].contents.fp32_contents.extend(image.ravel().tolist())
    return [*found, typed]
