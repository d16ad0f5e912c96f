"""The client for asyncio."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from types import TracebackType

import grpc

from guard.calling.client import AT_ONCE, AWAY_SECONDS, READY_SECONDS, SECONDS, Client, ahead
from guard.calling.connection import Connection
from guard.calling.feeds import AsyncFeed
from guard.calling.messages import Image, verdict_of
from guard.calling.readiness import QUESTION, is_ready, unready
from guard.calling.watching import Frame, StreamOptions, Watched
from guard.serving.verdict import Verdict

__all__ = ["AsyncGuardClient"]


class AsyncGuardClient(Client[grpc.aio.Channel]):
    """A client for asyncio, to be made and used within one event loop as a context manager."""

    async def check(
        self, image: Image, threshold: float | None = None, timeout: float = SECONDS
    ) -> Verdict:
        """Return the verdict on one image; as `GuardClient.check`."""
        request = await asyncio.to_thread(self._request, image, threshold)
        attempts = self._attempts(image, timeout)
        while True:
            metadata = self._connection.metadata()
            try:
                answer = await self._guard.Check(request, timeout=attempts.left, metadata=metadata)
                return verdict_of(answer)
            except grpc.RpcError as error:
                await asyncio.sleep(attempts.wait(error))

    async def check_many(
        self,
        images: Iterable[Image],
        threshold: float | None = None,
        timeout: float = SECONDS,
        at_once: int = AT_ONCE,
    ) -> AsyncIterator[Verdict]:
        """Yield the verdicts on images; as `GuardClient.check_many`."""
        running: deque[asyncio.Future[Verdict]] = deque()

        def start(image: Image) -> asyncio.Future[Verdict]:
            return asyncio.ensure_future(self.check(image, threshold, timeout))

        try:
            for first in ahead(start, images, running, at_once):
                yield await first
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def watch(
        self, frames: AsyncIterable[Frame], options: StreamOptions, timeout: float = AWAY_SECONDS
    ) -> AsyncIterator[Watched]:
        """Yield what the server says of each frame that it samples; as `GuardClient.watch`.

        Whoever leaves the iterator before its end closes it, by `contextlib.aclosing` for one.
        """
        feed, session = AsyncFeed(frames), self._session(options, timeout)
        done = False
        try:
            while not done:
                requests, metadata = feed.requests(session.settings), self._connection.metadata()
                call = self._guard.Watch(requests, metadata=metadata)
                try:
                    async for response in call:
                        if (watched := session.read(response)) is not None:
                            yield watched
                    done = True
                except grpc.RpcError as error:
                    await asyncio.sleep(session.wait(error))
                finally:
                    call.cancel()
        finally:
            await feed.close()
        if feed.error is not None:
            raise feed.error
        if session.summary is not None:
            yield session.summary

    async def ready(self, timeout: float = READY_SECONDS) -> bool:
        """Whether the server takes requests; as `GuardClient.ready`."""
        metadata = self._connection.metadata()
        try:
            return is_ready(await self._health.Check(QUESTION, timeout=timeout, metadata=metadata))
        except grpc.RpcError as error:
            return unready(error, self._target)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def __aenter__(self) -> "AsyncGuardClient":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _open(self, connection: Connection) -> grpc.aio.Channel:
        return connection.aio_channel()
