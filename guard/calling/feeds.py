"""Frames into requests, for one connection after another; no frame goes to two of them."""

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

from guard.calling.watching import Frame
from guard.serving.protocol import guard_pb2 as pb

__all__ = ["AsyncFeed", "Feed"]


class Feed:
    """One source of frames for one connection after another, each with a thread that takes them.

    Attributes:
        error: what kept the source from giving more, or a frame from being sent.
    """

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._frames, self._left = iter(frames), list[Frame]()
        self._lock = threading.Lock()
        self.error: Exception | None = None

    def requests(
        self, settings: pb.WatchSettings, ended: threading.Event
    ) -> Iterator[pb.WatchRequest]:
        """Yield the messages of one connection until it has ended or the frames have."""
        yield pb.WatchRequest(settings=settings)
        while (request := self._next(ended)) is not None:
            yield request

    def _next(self, ended: threading.Event) -> pb.WatchRequest | None:
        with self._lock:  # the thread of an ended connection may still wait for a frame
            if ended.is_set() or self.error:
                return None
            try:
                frame = self._left.pop() if self._left else next(self._frames, None)
                if frame is not None and ended.is_set():
                    self._left.append(frame)
                    return None
                return None if frame is None else frame.request()
            except Exception as error:  # gRPC's thread would log it and tell nobody
                self.error = error
                return None


class AsyncFeed:
    """The same for asyncio: a task of its own takes the frames, one ahead of the connection.

    Attributes:
        error: what kept the source from giving more, or a frame from being sent.
    """

    def __init__(self, frames: AsyncIterable[Frame]) -> None:
        self._requests: asyncio.Queue[pb.WatchRequest | None] = asyncio.Queue(1)
        self.error: Exception | None = None
        self._task = asyncio.ensure_future(self._take(frames))

    async def requests(self, settings: pb.WatchSettings) -> AsyncIterator[pb.WatchRequest]:
        """Yield the messages of one connection until the frames end."""
        yield pb.WatchRequest(settings=settings)
        while (request := await self._requests.get()) is not None:
            yield request
        self._requests.put_nowait(None)  # for the next connection, if there is one

    async def close(self) -> None:
        """Take no more frames."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _take(self, frames: AsyncIterable[Frame]) -> None:
        try:
            async for frame in frames:
                await self._requests.put(await asyncio.to_thread(frame.request))
        except Exception as error:  # it is raised where the answers are awaited
            self.error = error
        await self._requests.put(None)
