"""Which streams are known and who is connected to them: bounded in number, in memory, in time."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from guard.errors import BadInput
from guard.serving.config import Streams
from guard.serving.metrics import Metrics
from guard.serving.protocol import guard_pb2 as pb
from guard.serving.rejections import Overloaded, Rejection, Silent, Stopping, Superseded
from guard.serving.streams import Stream, StreamSettings

__all__ = ["Connection", "Connections"]


class Connection:
    """One client's connection to a stream: sampled frames wait here to be judged.

    No more than `limits.waiting` do: the oldest gives way, so that a fast sender or a slow reader
    makes the votes sparser, never later, and no queue grows.

    Attributes:
        ended: says why the server ends the connection.
    """

    def __init__(self, stream: Stream, resumed: bool, limits: Streams, metrics: Metrics) -> None:
        self.stream, self.resumed = stream, resumed
        self._limits, self._metrics = limits, metrics
        self._waiting: deque[pb.Frame] = deque()
        self._open, self._changed = True, asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[Rejection] = self._loop.create_future()
        self._heard = self._loop.time()
        self._silence = self._loop.call_later(limits.idle, self._listen)

    def offer(self, frame: pb.Frame) -> None:
        """Take a frame from the client.

        Raises:
            BadInput: for too long nothing but late and repeated frames came.
        """
        if self.ended.done():
            return
        self._heard = self._loop.time()
        fate = self.stream.arrive(frame)
        self._metrics.frames.labels(fate.lower()).inc()
        if fate != "SAMPLED":
            return
        if len(self._waiting) == self._limits.waiting:
            self._waiting.popleft()
            self._drop(1)
        self._waiting.append(frame)
        self._changed.set()

    def no_more(self) -> None:
        """The client has sent its last frame."""
        self._open = False
        self._changed.set()

    async def take(self) -> pb.Frame | None:
        """Return the next frame to be judged; None when there will be none."""
        while not self._waiting:
            if not self._open:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()

    def judged(self, frame: pb.Frame, check: pb.CheckResponse) -> pb.WatchResponse:
        """Let a frame that was taken vote, and return its answer.

        Raises:
            Rejection: the connection has ended; the vote is not counted.
        """
        if self.ended.done():
            raise self.ended.result()
        answer = self.stream.judged(frame, check)
        if answer.alarm.change:
            self._metrics.alarms.labels(pb.Alarm.Change.Name(answer.alarm.change).lower()).inc()
        return answer

    def end(self, why: Rejection) -> None:
        """End the connection, if it has not ended, and give up what waits."""
        self._silence.cancel()
        if not self.ended.done():
            self.ended.set_result(why)
            self._drop(self.stream.counts.waiting)

    def _drop(self, frames: int) -> None:
        self.stream.drop(frames)
        self._metrics.frames.labels("dropped").inc(frames)

    def _listen(self) -> None:
        left = self._heard + self._limits.idle - self._loop.time()
        if left > 0:
            self._silence = self._loop.call_later(left, self._listen)
        else:
            self.end(Silent(f"no frame came for {self._limits.idle:g} seconds"))


class Connections:
    """The streams of a server by their ids, and the connection of each that has one."""

    def __init__(self, limits: Streams, metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._streams: dict[str, Stream] = {}
        self._connected: dict[str, Connection] = {}
        self._expiries: dict[str, asyncio.TimerHandle] = {}

    @contextmanager
    def connect(self, settings: StreamSettings, restart: bool) -> Iterator[Connection]:
        """Connect to a stream for the length of the block; another connection of it is ended.

        Raises:
            BadInput: the stream is known with other settings, and is not to be restarted.
            Overloaded: too many streams are connected.
        """
        name = settings.stream
        stream, resumed = self._find(settings, restart)
        if name in self._connected:
            self._connected[name].end(
                Superseded(f"stream {name!r}: taken over by a new connection")
            )
        if name in self._expiries:
            self._expiries.pop(name).cancel()
        connection = Connection(stream, resumed, self._limits, self._metrics)
        self._streams[name], self._connected[name] = stream, connection
        self._metrics.streams.set(len(self._connected))
        try:
            yield connection
        finally:
            connection.end(Stopping("the connection is closed"))
            if self._connected.get(name) is connection:  # else taken over
                del self._connected[name]
                expire = asyncio.get_running_loop().call_later
                self._expiries[name] = expire(self._limits.idle, self._forget, name)
            self._metrics.streams.set(len(self._connected))

    def _find(self, settings: StreamSettings, restart: bool) -> tuple[Stream, bool]:
        known = self._streams.get(settings.stream)
        if known is None and len(self._streams) >= self._limits.streams:
            if not self._expiries:
                raise Overloaded(f"{len(self._streams)} streams are connected, the most allowed")
            # A new camera matters more than one that left: the longest gone is forgotten first.
            longest_gone = next(iter(self._expiries))
            self._expiries[longest_gone].cancel()
            self._forget(longest_gone)
        if known is None or restart:
            return Stream(settings), False
        if known.settings != settings:
            raise BadInput(
                f"stream {settings.stream!r}: known with other settings; restart it to change them"
            )
        return known, True

    def _forget(self, name: str) -> None:
        del self._streams[name], self._expiries[name]
