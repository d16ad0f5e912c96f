"""Streams that end between two messages when the server stops, with every taken one answered."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["OpenStreams"]


class OpenStreams:
    """The tasks that wait for a stream's next message, so that `end` can wake them."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Task[Any]] = set()
        self.ended = False

    async def messages(
        self,
        requests: AsyncIterable[Any],
        paced: Callable[[], Awaitable[None]] | None,
        cut: Callable[[], None],
    ) -> AsyncIterator[Any]:
        """Yield the messages of a stream until it ends, or `end` is called.

        Args:
            requests: the stream; a message that was not yet read at the end is not taken.
            paced: awaited before each message is read.
            cut: called if the stream was not at its end.
        """
        received = aiter(requests)
        while not self.ended:
            try:
                with _among(self._waiting):
                    if paced is not None:
                        await paced()
                    message = await anext(received)
            except StopAsyncIteration:
                return
            except asyncio.CancelledError:
                if not self.ended:
                    raise
                _take_back_cancellation()
                break
            yield message
        cut()

    async def was_cut(self, serving: Awaitable[None]) -> bool:
        """Await a stream that only sends; say whether `end` was called before it ended."""
        try:
            with _among(self._waiting):
                await serving
        except asyncio.CancelledError:
            if not self.ended:
                raise
            _take_back_cancellation()
            return True
        return False

    def end(self) -> None:
        """End every stream at its next message."""
        self.ended = True
        for task in tuple(self._waiting):
            task.cancel()


@contextmanager
def _among(tasks: set[asyncio.Task[Any]]) -> Iterator[None]:
    """Keep the running task in a set for as long as the block runs."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("streams are served by tasks")
    tasks.add(task)
    try:
        yield
    finally:
        tasks.discard(task)


def _take_back_cancellation() -> None:
    """Let `asyncio.timeout` around a stream's handler not mistake our waking for its own."""
    task = asyncio.current_task()
    uncancel = getattr(task, "uncancel", None)  # Python 3.10 counts no cancellations
    if uncancel is not None:
        uncancel()
