"""`Watch`: frames in, votes and alarms out, until the client or the server ends the stream."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from guard.errors import BadInput
from guard.serving.checking import Checker, unverified
from guard.serving.config import Streams
from guard.serving.metrics import Metrics
from guard.serving.protocol import guard_pb2 as pb
from guard.serving.rejections import Silent, Stopping, UnknownModel, explain
from guard.serving.repository import Repository
from guard.serving.stream_connections import Connection, Connections
from guard.serving.streams import StreamSettings

__all__ = ["Watcher"]

Requests = AsyncIterator[pb.WatchRequest]


class Watcher:
    """Serves the connections to streams; each has its frames judged one after the other."""

    def __init__(
        self, models: Repository, checker: Checker, limits: Streams, metrics: Metrics
    ) -> None:
        self._models, self._checker = models, checker
        self._limits, self._metrics = limits, metrics
        self._connections = Connections(limits, metrics)

    async def watch(self, requests: Requests, context: Any) -> None:
        """Serve one connection; frames are read while others are judged or answered.

        Raises:
            BadInput: a message or a setting is not allowed.
            Rejection: the server ends the connection.
        """
        asked = await self._settings(requests)
        settings = StreamSettings.of(asked)
        self._models.find(settings.model)
        # Else the first answer would bring it, and gRPC fails to end a call whose first answer was
        # given up on its way: it would send the metadata twice.
        await context.send_initial_metadata(())
        with self._connections.connect(settings, asked.restart) as connection:
            reading = asyncio.ensure_future(_read(requests, connection))
            answering = asyncio.ensure_future(self._answer(connection, context))
            waiting: set[asyncio.Future[Any]] = {reading, answering, connection.ended}
            try:
                while not answering.done():
                    done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    if connection.ended in done:
                        raise connection.ended.result()
                    for task in done:
                        task.result()
            finally:
                for task in (reading, answering):
                    task.cancel()
                await asyncio.gather(reading, answering, return_exceptions=True)

    async def _settings(self, requests: Requests) -> pb.WatchSettings:
        try:
            first = await asyncio.wait_for(anext(requests, None), self._limits.idle)
        except asyncio.TimeoutError:
            raise Silent(f"no settings came for {self._limits.idle:g} seconds") from None
        if first is None or first.WhichOneof("content") != "settings":
            raise BadInput("settings: missing; they are the first message of a stream")
        return first.settings

    async def _answer(self, connection: Connection, context: Any) -> None:
        await context.write(connection.stream.opened(connection.resumed))
        while (frame := await connection.take()) is not None:
            check = await self._check(frame, connection.stream.settings)
            await context.write(connection.judged(frame, check))
        await context.write(connection.stream.summary())

    async def _check(self, frame: pb.Frame, settings: StreamSettings) -> pb.CheckResponse:
        """Judge a frame; whatever keeps it from being judged makes it UNVERIFIED."""
        request_id = f"{settings.stream}/{frame.sequence}"
        model = self._models.find(settings.model)
        try:
            # Lent for one frame: a stream that is open for hours must not hold a replaced bundle.
            with self._models.use(settings.model) as model:
                return await self._checker.check(
                    frame, model, settings.threshold, self._limits.frame_seconds, request_id
                )
        except (Stopping, UnknownModel):  # nor will the next frames be judged
            raise
        except Exception as error:
            _, reason = explain(error, self._metrics)
        return unverified(model, settings.threshold, reason, request_id)


async def _read(requests: Requests, connection: Connection) -> None:
    async for request in requests:
        if request.WhichOneof("content") != "frame":
            raise BadInput("frame: missing; only the first message of a stream has settings")
        connection.offer(request.frame)
    connection.no_more()
