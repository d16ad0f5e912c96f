"""`guard.v1.GuardService`: typed verdicts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from guard.errors import BadInput
from guard.serving.decoding import Decoders
from guard.serving.hosted import HostedModel
from guard.serving.images import check_images
from guard.serving.metrics import Metrics
from guard.serving.protocol import guard_pb2 as pb
from guard.serving.protocol.guard_pb2_grpc import GuardServiceServicer
from guard.serving.rejections import answer
from guard.serving.repository import Repository
from guard.serving.request_ids import current
from guard.serving.tensors import parse_raw
from guard.serving.verdict import Verdict

__all__ = ["GuardService"]


class GuardService(GuardServiceServicer):
    """One image in, one verdict out."""

    def __init__(self, models: Repository, decoders: Decoders, metrics: Metrics) -> None:
        self._models, self._decoders, self._metrics = models, decoders, metrics

    async def Check(self, request: pb.CheckRequest, context: Any) -> pb.CheckResponse:
        """Classify one image and say whether the classification can be trusted."""
        return await answer(self._check, request, context, self._metrics)

    async def _check(self, request: pb.CheckRequest, seconds: float | None) -> pb.CheckResponse:
        with self._models.use(request.model) as model:
            return await self._judge(request, model, seconds)

    async def _judge(
        self, request: pb.CheckRequest, model: HostedModel, seconds: float | None
    ) -> pb.CheckResponse:
        threshold = request.threshold if request.HasField("threshold") else None
        images = await self._images(request, model)
        judged = await model.judge(images, threshold, seconds)
        manifest = model.manifest
        verdict = Verdict.of(judged, 0, manifest.class_names, manifest.layer_names)
        return pb.CheckResponse(
            request_id=request.request_id or current(),
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

    async def _images(self, request: pb.CheckRequest, model: HostedModel) -> NDArray[np.float32]:
        kind = request.WhichOneof("image")
        if kind == "encoded":
            return await self._decoders.decode([request.encoded], model.spec, "image")
        if kind != "tensor":
            raise BadInput("image: missing; set encoded or tensor")
        tensor = request.tensor
        values = parse_raw(tensor.data, tensor.datatype, tensor.shape, "tensor")
        if isinstance(values, list) or values.ndim != 3:
            raise BadInput(
                f"tensor: {tensor.datatype} {list(tensor.shape)};"
                " numbers of shape [channel, height, width] are wanted"
            )
        return check_images(values[np.newaxis], model.spec, "tensor")
