"""The client for threads."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import grpc

from guard.calling.client import AT_ONCE, AWAY_SECONDS, READY_SECONDS, SECONDS, Client, ahead
from guard.calling.connection import Connection
from guard.calling.feeds import Feed
from guard.calling.messages import Image, verdict_of
from guard.calling.readiness import QUESTION, is_ready, unready
from guard.calling.watching import Frame, StreamOptions, Watched
from guard.serving.verdict import Verdict

__all__ = ["GuardClient"]


class GuardClient(Client[grpc.Channel]):
    """A client for threads, as many as you like; to be used as a context manager."""

    def check(
        self, image: Image, threshold: float | None = None, timeout: float = SECONDS
    ) -> Verdict:
        """Return the verdict on one image.

        Args:
            image: a JPEG or PNG file, as bytes or by its path; or an array `[channel, height,
                width]` of float32 or float16 in [0, 1] or of uint8, in the model's size.
            threshold: of the joint discrepancy; None for the calibrated one.
            timeout: seconds, with all retries.

        Raises:
            BadInput: the image or the threshold is not allowed, or there is no such model.
            CornerguardError: the server cannot be reached, is overloaded, or too slow.
        """
        request = self._request(image, threshold)
        attempts = self._attempts(image, timeout)
        while True:
            metadata = self._connection.metadata()
            try:
                answer = self._guard.Check(request, timeout=attempts.left, metadata=metadata)
                return verdict_of(answer)
            except grpc.RpcError as error:
                time.sleep(attempts.wait(error))

    def check_many(
        self,
        images: Iterable[Image],
        threshold: float | None = None,
        timeout: float = SECONDS,
        at_once: int = AT_ONCE,
    ) -> Iterator[Verdict]:
        """Yield the verdicts on images, in their order, with `at_once` under way; as `check`."""
        running: deque[Future[Verdict]] = deque()
        with ThreadPoolExecutor(at_once, thread_name_prefix="check") as pool:

            def start(image: Image) -> Future[Verdict]:
                return pool.submit(self.check, image, threshold, timeout)

            for first in ahead(start, images, running, at_once):
                yield first.result()

    def watch(
        self, frames: Iterable[Frame], options: StreamOptions, timeout: float = AWAY_SECONDS
    ) -> Iterator[Watched]:
        """Yield what the server says of each frame that it samples, and at the end a summary.

        Frames are taken by a thread, as fast as the connection does. When the connection is lost
        it is opened anew, and the stream goes on where it was; frames on their way are lost.

        Args:
            frames: ends the stream when it ends.
            options: how the stream is watched.
            timeout: seconds after which a server that cannot be reached is given up.

        Raises:
            BadInput: the options or the model are not allowed, or a frame's file cannot be read.
            CornerguardError: the server cannot be reached, or another client took the stream over.
        """
        feed, session = Feed(frames), self._session(options, timeout)
        done = False
        while not done:
            ended, metadata = threading.Event(), self._connection.metadata()
            call = self._guard.Watch(feed.requests(session.settings, ended), metadata=metadata)
            try:
                for response in call:
                    if (watched := session.read(response)) is not None:
                        yield watched
                done = True
            except grpc.RpcError as error:
                time.sleep(session.wait(error))
            finally:
                ended.set()
                call.cancel()
        if feed.error is not None:
            raise feed.error
        if session.summary is not None:
            yield session.summary

    def ready(self, timeout: float = READY_SECONDS) -> bool:
        """Whether the server takes requests; False as well if there is none.

        Raises:
            CornerguardError: the server does not take this client's.
        """
        metadata = self._connection.metadata()
        try:
            return is_ready(self._health.Check(QUESTION, timeout=timeout, metadata=metadata))
        except grpc.RpcError as error:
            return unready(error, self._target)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> "GuardClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self, connection: Connection) -> grpc.Channel:
        return connection.channel()
