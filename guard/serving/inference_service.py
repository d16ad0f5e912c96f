"""`inference.GRPCInferenceService`: the Open Inference Protocol, and what Triton's clients ask."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from importlib.metadata import version

from guard.errors import BadInput
from guard.serving.behaviours import Context
from guard.serving.decoding import Decoders
from guard.serving.inference import Inference
from guard.serving.inference_stream import answer_stream
from guard.serving.metrics import Metrics
from guard.serving.model_description import configuration, metadata
from guard.serving.protocol import extensions_pb2 as ext
from guard.serving.protocol import inference_pb2 as pb
from guard.serving.protocol.inference_pb2_grpc import GRPCInferenceServiceServicer
from guard.serving.rejections import UnknownModel, answer
from guard.serving.repository import Repository
from guard.serving.repository_calls import RepositoryCalls
from guard.serving.shared_memory_calls import SharedMemoryCalls

__all__ = ["InferenceService"]

EXTENSIONS = (
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
)
LEVELS = {"log_info": logging.INFO, "log_warning": logging.WARNING, "log_error": logging.ERROR}


class InferenceService(RepositoryCalls, SharedMemoryCalls, GRPCInferenceServiceServicer):
    """Answers the clients of Triton and KServe.

    The outputs are those of the graph and `verdict`, a BYTES tensor of VALID, CORNER_CASE or
    UNVERIFIED for each image. An image that is UNVERIFIED has `valid` false.

    Args:
        repository: the models.
        decoders: of JPEG and PNG files.
        metrics: where failures are counted.
        welcome: whether requests are taken at all; each model has a readiness of its own.
        stream_requests: most requests of one stream in hand.
        control: whether clients may load and unload models.
    """

    def __init__(
        self,
        repository: Repository,
        decoders: Decoders,
        metrics: Metrics,
        welcome: Callable[[], bool],
        stream_requests: int = 32,
        control: bool = True,
    ) -> None:
        RepositoryCalls.__init__(self, repository, metrics, control)
        SharedMemoryCalls.__init__(self, metrics)
        self._repository, self._metrics, self._welcome = repository, metrics, welcome
        self._inference, self._stream_requests = Inference(repository, decoders), stream_requests

    async def ServerLive(
        self, request: pb.ServerLiveRequest, context: Context
    ) -> pb.ServerLiveResponse:
        """Say that the process runs."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(
        self, request: pb.ServerReadyRequest, context: Context
    ) -> pb.ServerReadyResponse:
        """Say whether requests are welcome, and every model that is loaded can be called."""
        return pb.ServerReadyResponse(ready=self._welcome() and self._repository.ready)

    async def ModelReady(
        self, request: pb.ModelReadyRequest, context: Context
    ) -> pb.ModelReadyResponse:
        """Say whether this model can be called; no for an unknown one."""
        try:
            model = self._repository.find(request.name, request.version)
        except UnknownModel:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=self._welcome() and model.ready)

    async def ServerMetadata(
        self, request: pb.ServerMetadataRequest, context: Context
    ) -> pb.ServerMetadataResponse:
        """Name the server, its version, and which of Triton's extensions it has."""
        return pb.ServerMetadataResponse(
            name="cornerguard", version=version("cornerguard"), extensions=EXTENSIONS
        )

    async def ModelMetadata(
        self, request: pb.ModelMetadataRequest, context: Context
    ) -> pb.ModelMetadataResponse:
        """Describe a model's inputs and outputs."""
        return await answer(self._metadata, request, context, self._metrics)

    async def ModelConfig(
        self, request: ext.ModelConfigRequest, context: Context
    ) -> ext.ModelConfigResponse:
        """Describe how a model is run."""
        return await answer(self._configuration, request, context, self._metrics)

    async def ModelStatistics(
        self, request: ext.ModelStatisticsRequest, context: Context
    ) -> ext.ModelStatisticsResponse:
        """Say what a model, or every model, has done since it was loaded."""
        return await answer(self._statistics, request, context, self._metrics)

    async def ModelInfer(
        self, request: pb.ModelInferRequest, context: Context
    ) -> pb.ModelInferResponse:
        """Judge a batch of images, given as numbers or as JPEG and PNG files."""
        return await answer(self._inference.infer, request, context, self._metrics)

    async def ModelStreamInfer(
        self, request_iterator: AsyncIterator[pb.ModelInferRequest], context: Context
    ) -> None:
        """Judge the batches of a stream, in their order."""

        async def infer(request: pb.ModelInferRequest) -> pb.ModelInferResponse:
            return await self._inference.infer(request, context.time_remaining())

        answers = answer_stream(
            aiter(request_iterator), infer, self._stream_requests, self._metrics
        )
        async with aclosing(answers):
            async for response in answers:
                await context.write(response)

    async def TraceSetting(
        self, request: ext.TraceSettingRequest, context: Context
    ) -> ext.TraceSettingResponse:
        """Say that no request is traced in Triton's way; refuse to change that."""
        return await answer(self._trace, request, context, self._metrics)

    async def LogSettings(
        self, request: ext.LogSettingsRequest, context: Context
    ) -> ext.LogSettingsResponse:
        """Say which levels are logged; refuse to change them."""
        return await answer(self._logs, request, context, self._metrics)

    async def _metadata(
        self, request: pb.ModelMetadataRequest, seconds: float | None
    ) -> pb.ModelMetadataResponse:
        return metadata(self._repository.find(request.name, request.version))

    async def _configuration(
        self, request: ext.ModelConfigRequest, seconds: float | None
    ) -> ext.ModelConfigResponse:
        model = self._repository.find(request.name, request.version)
        return ext.ModelConfigResponse(config=configuration(model))

    async def _statistics(
        self, request: ext.ModelStatisticsRequest, seconds: float | None
    ) -> ext.ModelStatisticsResponse:
        models = (
            [self._repository.find(request.name, request.version)]
            if request.name
            else self._repository.models()
        )
        stats = [model.statistics.message(model.name, model.version) for model in models]
        return ext.ModelStatisticsResponse(model_stats=stats)

    async def _trace(
        self, request: ext.TraceSettingRequest, seconds: float | None
    ) -> ext.TraceSettingResponse:
        for name in request.settings:
            raise BadInput(f"trace setting {name!r}: cannot be changed by a call")
        off = ext.TraceSettingResponse.SettingValue(value=["OFF"])
        return ext.TraceSettingResponse(settings={"trace_level": off})

    async def _logs(
        self, request: ext.LogSettingsRequest, seconds: float | None
    ) -> ext.LogSettingsResponse:
        for name in request.settings:
            raise BadInput(f"log setting {name!r}: cannot be changed by a call")
        value = ext.LogSettingsResponse.SettingValue
        enabled = {
            name: value(bool_param=logging.getLogger().isEnabledFor(level))
            for name, level in LEVELS.items()
        }
        return ext.LogSettingsResponse(settings=enabled)
