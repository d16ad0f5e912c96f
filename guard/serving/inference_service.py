"""`inference.GRPCInferenceService`: the guarded model as an Open Inference Protocol model."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guard.errors import BadInput, nearest
from guard.serving.decoding import Decoders
from guard.serving.hosted import HostedModel, Models
from guard.serving.images import check_images
from guard.serving.metrics import Metrics
from guard.serving.protocol import inference_pb2 as pb
from guard.serving.protocol.inference_pb2_grpc import GRPCInferenceServiceServicer
from guard.serving.rejections import UnknownModel, answer
from guard.serving.tensors import read_inputs, read_parameters, write_output
from guard.serving.verdict import VERDICTS, Judged

__all__ = ["InferenceService"]

INPUTS = ("images", "threshold")
PARAMETERS = ("threshold", "timeout")
DATATYPES = {"float32": "FP32", "int64": "INT64", "bool": "BOOL"}
Context = Any


class InferenceService(GRPCInferenceServiceServicer):
    """Answers the clients of Triton and KServe.

    The outputs are those of the graph and `verdict`, a BYTES tensor of VALID, CORNER_CASE or
    UNVERIFIED for each image. An image that is UNVERIFIED has `valid` false.
    """

    def __init__(
        self, models: Models, decoders: Decoders, metrics: Metrics, ready: Callable[[], bool]
    ) -> None:
        self._models, self._decoders, self._metrics = models, decoders, metrics
        self._ready = ready

    async def ServerLive(
        self, request: pb.ServerLiveRequest, context: Context
    ) -> pb.ServerLiveResponse:
        """Say that the process runs."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(
        self, request: pb.ServerReadyRequest, context: Context
    ) -> pb.ServerReadyResponse:
        """Say whether requests are welcome."""
        return pb.ServerReadyResponse(ready=self._ready())

    async def ModelReady(
        self, request: pb.ModelReadyRequest, context: Context
    ) -> pb.ModelReadyResponse:
        """Say whether this model is served; no for an unknown one."""
        try:
            self._models.find(request.name, request.version)
        except UnknownModel:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=self._ready())

    async def ServerMetadata(
        self, request: pb.ServerMetadataRequest, context: Context
    ) -> pb.ServerMetadataResponse:
        """Name the server and its version."""
        return pb.ServerMetadataResponse(name="cornerguard", version=version("cornerguard"))

    async def ModelMetadata(
        self, request: pb.ModelMetadataRequest, context: Context
    ) -> pb.ModelMetadataResponse:
        """Describe a model's inputs and outputs."""
        return await answer(self._metadata, request, context, self._metrics)

    async def ModelInfer(
        self, request: pb.ModelInferRequest, context: Context
    ) -> pb.ModelInferResponse:
        """Judge a batch of images, given as numbers or as JPEG and PNG files."""
        return await answer(self._infer, request, context, self._metrics)

    async def _metadata(
        self, request: pb.ModelMetadataRequest, seconds: float | None
    ) -> pb.ModelMetadataResponse:
        model = self._models.find(request.name, request.version)
        response = pb.ModelMetadataResponse(
            name=model.name, versions=[model.version], platform="onnxruntime_onnx"
        )
        manifest = model.manifest
        for specs, tensors in (
            (manifest.inputs, response.inputs),
            (manifest.outputs, response.outputs),
        ):
            for spec in specs:
                tensors.add(name=spec.name, datatype=DATATYPES[spec.datatype], shape=spec.shape)
        response.outputs.add(name="verdict", datatype="BYTES", shape=[-1])
        return response

    async def _infer(
        self, request: pb.ModelInferRequest, seconds: float | None
    ) -> pb.ModelInferResponse:
        model = self._models.find(request.model_name, request.model_version)
        parameters = read_parameters(request.parameters, PARAMETERS)
        inputs = read_inputs(request, INPUTS)
        if "images" not in inputs:
            raise BadInput("input 'images': missing")
        wanted = _wanted(request)
        threshold = _threshold(parameters, inputs.get("threshold"))
        images = await self._images(inputs["images"], model)
        if "timeout" in parameters:
            timeout = parameters["timeout"] / 1e6
            seconds = timeout if seconds is None else min(seconds, timeout)
        judged = await model.judge(images, threshold, seconds)
        return _respond(request, model, judged, wanted)

    async def _images(
        self, images: NDArray[Any] | list[bytes], model: HostedModel
    ) -> NDArray[np.float32]:
        if len(images) > model.max_batch:
            raise BadInput(
                f"input 'images': {len(images)} images; at most {model.max_batch} are allowed"
            )
        if isinstance(images, list):
            return await self._decoders.decode(images, model.spec, "input 'images'")
        return check_images(images, model.spec, "input 'images'")


def _wanted(request: pb.ModelInferRequest) -> list[str]:
    known = ["logits", "label", "discrepancy", "score", "p_value", "valid", "verdict"]
    for output in request.outputs:
        if output.name not in known:
            raise BadInput(f"output {output.name!r}: unknown{nearest(output.name, known)}")
        if output.parameters:
            first = min(output.parameters)
            raise BadInput(f"output {output.name!r}: parameter {first!r}; none are taken here")
    return [output.name for output in request.outputs] or known


def _threshold(
    parameters: dict[str, float], tensor: NDArray[Any] | list[bytes] | None
) -> float | None:
    if tensor is None:
        return parameters.get("threshold")
    if "threshold" in parameters:
        raise BadInput("threshold: given both as an input and as a parameter")
    if isinstance(tensor, list) or tensor.dtype != np.float32 or tensor.shape != (1,):
        raise BadInput("input 'threshold': FP32 of shape [1] is wanted")
    return float(tensor[0])


def _respond(
    request: pb.ModelInferRequest, model: HostedModel, judged: Judged, wanted: list[str]
) -> pb.ModelInferResponse:
    response = pb.ModelInferResponse(
        model_name=model.name, model_version=model.version, id=request.id
    )
    values = vars(judged.outputs) | {"verdict": [VERDICTS[code] for code in judged.verdict]}
    for name in wanted:
        write_output(response, name, values[name], raw=bool(request.raw_input_contents))
    return response
