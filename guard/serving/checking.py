"""One image, as a message of `guard.v1` has it, to a typed verdict."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guard.errors import BadInput
from guard.serving.decoding import Decoders
from guard.serving.hosted import HostedModel
from guard.serving.images import check_images
from guard.serving.protocol import guard_pb2 as pb
from guard.serving.tensors import parse_raw
from guard.serving.verdict import Judged, Verdict

__all__ = ["Checker", "unverified"]


class Checker:
    """Decodes or checks an image, has it judged, and says the verdict."""

    def __init__(self, decoders: Decoders) -> None:
        self._decoders = decoders

    async def check(
        self,
        message: pb.CheckRequest | pb.Frame,
        model: HostedModel,
        threshold: float | None,
        seconds: float | None,
        request_id: str,
        priority: int = 0,
    ) -> pb.CheckResponse:
        """Judge the image of a message within so many seconds.

        Raises:
            BadInput: the image or the threshold is not allowed.
            Rejection: overloaded, expired or stopping.
        """
        start = time.monotonic()
        images = await self._images(message, model)
        left = None if seconds is None else seconds - (time.monotonic() - start)
        judged = await model.judge(images, threshold, left, priority)
        return _answer(judged, model, request_id)

    async def _images(
        self, message: pb.CheckRequest | pb.Frame, model: HostedModel
    ) -> NDArray[Any]:
        kind = message.WhichOneof("image")
        if kind == "encoded":
            return await self._decoders.decode([message.encoded], model.spec, "image")
        if kind != "tensor":
            raise BadInput("image: missing; set encoded or tensor")
        tensor = message.tensor
        values = parse_raw(tensor.data, tensor.datatype, tensor.shape, "tensor")
        if isinstance(values, list) or values.ndim != 3:
            raise BadInput(
                f"tensor: {tensor.datatype} {list(tensor.shape)};"
                " numbers of shape [channel, height, width] are wanted"
            )
        return check_images(values[np.newaxis], model.spec, "tensor")


def unverified(
    model: HostedModel, threshold: float | None, reason: str, request_id: str
) -> pb.CheckResponse:
    """Return what is said of an image that could not be judged."""
    manifest, decided = model.manifest, model.threshold if threshold is None else threshold
    widths = len(manifest.class_names), len(manifest.layer_names)
    return _answer(Judged.unverified(1, *widths, decided, reason), model, request_id)


def _answer(judged: Judged, model: HostedModel, request_id: str) -> pb.CheckResponse:
    manifest = model.manifest
    verdict = Verdict.of(judged, 0, manifest.class_names, manifest.layer_names)
    return pb.CheckResponse(
        request_id=request_id,
        verdict=verdict.verdict,
        reason=verdict.reason,
        label=verdict.label,
        class_name=verdict.class_name,
        confidence=verdict.confidence,
        score=verdict.score,
        p_value=verdict.p_value,
        threshold=verdict.threshold,
        discrepancy=[
            pb.LayerDiscrepancy(layer=layer, discrepancy=value)
            for layer, value in verdict.discrepancy.items()
        ],
        model=model.name,
        model_version=model.version,
        fingerprint=model.fingerprint,
    )
