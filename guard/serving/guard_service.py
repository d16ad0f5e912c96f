"""`guard.v1.GuardService`: typed verdicts on images, votes and alarms on streams of frames."""

from collections.abc import AsyncIterator
from typing import Any

from guard.serving.checking import Checker
from guard.serving.config import Streams
from guard.serving.decoding import Decoders
from guard.serving.metrics import Metrics
from guard.serving.priorities import priority_of
from guard.serving.protocol import guard_pb2 as pb
from guard.serving.protocol.guard_pb2_grpc import GuardServiceServicer
from guard.serving.rejections import answer
from guard.serving.repository import Repository
from guard.serving.request_ids import current
from guard.serving.watching import Watcher

__all__ = ["GuardService"]


class GuardService(GuardServiceServicer):
    """Answers `guard.client` and every other client of `guard.proto`."""

    def __init__(
        self, models: Repository, decoders: Decoders, streams: Streams, metrics: Metrics
    ) -> None:
        self._models, self._metrics = models, metrics
        self._checker = Checker(decoders)
        self._watcher = Watcher(models, self._checker, streams, metrics)

    async def Check(self, request: pb.CheckRequest, context: Any) -> pb.CheckResponse:
        """Classify one image and say whether the classification can be trusted."""
        return await answer(self._check, request, context, self._metrics)

    async def Watch(self, requests: AsyncIterator[pb.WatchRequest], context: Any) -> None:
        """Watch a stream of frames."""

        async def watch(requests: AsyncIterator[pb.WatchRequest], seconds: float | None) -> None:
            await self._watcher.watch(requests, context)

        await answer(watch, requests, context, self._metrics)

    async def _check(self, request: pb.CheckRequest, seconds: float | None) -> pb.CheckResponse:
        threshold = request.threshold if request.HasField("threshold") else None
        with self._models.use(request.model) as model:
            request_id, priority = request.request_id or current(), priority_of(request.priority)
            return await self._checker.check(
                request, model, threshold, seconds, request_id, priority
            )
