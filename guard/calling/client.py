"""What both clients are made of, but for how they wait."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import grpc
from grpc_health.v1.health_pb2_grpc import HealthStub

from guard.calling.connection import Connection, Credentials
from guard.calling.messages import Image, check_request
from guard.calling.retries import Attempts, Retries
from guard.calling.watching import Session, StreamOptions
from guard.serving.protocol import guard_pb2 as pb
from guard.serving.protocol.guard_pb2_grpc import GuardServiceStub

__all__ = ["AT_ONCE", "AWAY_SECONDS", "READY_SECONDS", "SECONDS", "Client", "ahead"]

SECONDS: Final = 10.0
READY_SECONDS: Final = 1.0
AWAY_SECONDS: Final = 30.0
AT_ONCE: Final = 8
Channel = TypeVar("Channel", grpc.Channel, grpc.aio.Channel)
Started = TypeVar("Started")


class Client(ABC, Generic[Channel]):
    """A connection to a server.

    Args:
        target: `HOST:PORT`.
        model: the model's name; may be empty if the server has only one.
        credentials: encryption, the client's certificate, its token; by default none of them.
        retries: how long to wait before a call that failed is tried again.
        priority: of the checks among those of other clients, 1 (first) to 9; 0 is 5.

    Raises:
        BadInput: the address is none, a file cannot be read, or a token would be sent in the clear.
    """

    def __init__(
        self,
        target: str,
        model: str = "",
        credentials: Credentials | None = None,
        retries: Retries | None = None,
        priority: int = 0,
    ) -> None:
        self._target, self._model, self._retries = target, model, retries or Retries()
        self._priority = priority
        self._connection = Connection(target, credentials or Credentials())
        self._channel: Channel = self._open(self._connection)
        self._guard: Any = GuardServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._health: Any = HealthStub(self._channel)

    @abstractmethod
    def _open(self, connection: Connection) -> Channel: ...

    def _request(self, image: Image, threshold: float | None) -> pb.CheckRequest:
        return check_request(image, self._model, threshold, self._priority)

    def _attempts(self, image: Image, seconds: float) -> Attempts:
        subject = str(image) if isinstance(image, Path) else ""
        return Attempts(self._retries, self._target, seconds, subject=subject)

    def _session(self, options: StreamOptions, seconds: float) -> Session:
        return Session(options, self._model, self._target, self._retries, seconds)


def ahead(
    start: Callable[[Image], Started], images: Iterable[Image], running: deque[Started], most: int
) -> Iterator[Started]:
    """Yield what was started, oldest first, while up to `most` run; `running` has the others."""
    for image in images:
        running.append(start(image))
        if len(running) == most:
            yield running.popleft()
    while running:
        yield running.popleft()
