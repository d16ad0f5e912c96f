"""One inference request of the Open Inference Protocol: read, judged, and answered."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guard.errors import BadInput, nearest
from guard.serving.decoding import Decoders
from guard.serving.hosted import HostedModel
from guard.serving.images import check_images
from guard.serving.parameters import classes_wanted, read_parameters
from guard.serving.protocol import inference_pb2 as pb
from guard.serving.repository import Repository
from guard.serving.tensors import Tensor, read_inputs, write_output
from guard.serving.verdict import VERDICTS, Judged

__all__ = ["INPUTS", "OUTPUTS", "Inference"]

INPUTS = ("images", "threshold")
OUTPUTS = ("logits", "label", "discrepancy", "score", "p_value", "valid", "verdict")
WORDS = np.array(VERDICTS)


class Inference:
    """Judges the images of a request, which are numbers or JPEG and PNG files."""

    def __init__(self, repository: Repository, decoders: Decoders) -> None:
        self._repository, self._decoders = repository, decoders

    async def infer(
        self, request: pb.ModelInferRequest, seconds: float | None
    ) -> pb.ModelInferResponse:
        """Answer a request within so many seconds.

        Raises:
            BadInput: the request is wrong; the message says what and where.
            Rejection: no such model, overloaded, expired or stopping.
        """
        with self._repository.use(request.model_name, request.model_version) as model:
            start = time.perf_counter()
            parameters = read_parameters(request.parameters)
            wanted = _wanted(request, model)
            inputs = read_inputs(request, INPUTS)
            if "images" not in inputs:
                raise BadInput("input 'images': missing")
            images = await self._images(inputs["images"], model)
            threshold = _threshold(parameters.threshold, inputs.get("threshold"), len(images))
            read = time.perf_counter()
            limits = [limit for limit in (parameters.seconds, seconds) if limit is not None]
            left = min(limits) - (read - start) if limits else None
            judged = await model.judge(images, threshold, left, parameters.priority)
            judged_at = time.perf_counter()
            response = _respond(request, model, judged, wanted)
            model.statistics.converted(read - start, time.perf_counter() - judged_at)
            return response

    async def _images(self, images: Tensor, model: HostedModel) -> NDArray[Any]:
        if len(images) > model.max_batch:
            raise BadInput(
                f"input 'images': {len(images)} images; at most {model.max_batch} are allowed"
            )
        if isinstance(images, list):
            return await self._decoders.decode(images, model.spec, "input 'images'")
        return check_images(images, model.spec, "input 'images'")


def _wanted(request: pb.ModelInferRequest, model: HostedModel) -> dict[str, int | None]:
    """Return the outputs to send, each with how many classes it is to list, if it is to."""
    if not request.outputs:
        return dict.fromkeys(OUTPUTS)
    wanted: dict[str, int | None] = {}
    for output in request.outputs:
        where = f"output {output.name!r}"
        if output.name not in OUTPUTS:
            raise BadInput(f"{where}: unknown{nearest(output.name, OUTPUTS)}")
        if output.name in wanted:
            raise BadInput(f"{where}: asked for twice")
        classes = classes_wanted(output.parameters, where)
        if classes and output.name not in _labels(model):
            raise BadInput(f"{where}: has no classes; {' and '.join(_labels(model))} have")
        wanted[output.name] = classes
    return wanted


def _threshold(parameter: float | None, tensor: Tensor | None, batch: int) -> float | None:
    """Return the one threshold of a request; as a tensor it may be repeated for each image."""
    if tensor is None:
        return parameter
    if parameter is not None:
        raise BadInput("threshold: given both as an input and as a parameter")
    shaped = not isinstance(tensor, list) and tensor.shape in ((1,), (batch, 1))
    if isinstance(tensor, list) or tensor.dtype != np.float32 or not shaped:
        raise BadInput(f"input 'threshold': FP32 of shape [1] or [{batch}, 1] is wanted")
    first = tensor.flat[0]
    if not (tensor == first).all() and not np.isnan(first):
        raise BadInput("input 'threshold': differs between images; one of a request is wanted")
    return float(first)


def _labels(model: HostedModel) -> dict[str, tuple[str, ...]]:
    return {"logits": model.manifest.class_names, "discrepancy": model.manifest.layer_names}


def _respond(
    request: pb.ModelInferRequest,
    model: HostedModel,
    judged: Judged,
    wanted: dict[str, int | None],
) -> pb.ModelInferResponse:
    response = pb.ModelInferResponse(
        model_name=model.name, model_version=model.version, id=request.id
    )
    raw = bool(request.raw_input_contents)
    for name, classes in wanted.items():
        values = WORDS[judged.verdict] if name == "verdict" else getattr(judged.outputs, name)
        if classes:
            values = _classified(values, classes, _labels(model)[name])
        write_output(response, name, values, raw)
    return response


def _classified(values: NDArray[Any], count: int, labels: tuple[str, ...]) -> NDArray[np.str_]:
    """Return `[batch, count]` of "value:index:label", the highest value first, NaN last."""
    order = np.argsort(-values, axis=1, kind="stable")[:, :count]
    return np.array(
        [
            [f"{row[index]:f}:{index}:{labels[index]}" for index in indices]
            for row, indices in zip(values, order, strict=True)
        ]
    )
