"""A camera of a test: one connection of a stream, by the plain stub."""

import queue
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from guard.serving.protocol import guard_pb2 as pb
from guard.serving.protocol.guard_pb2_grpc import GuardServiceStub
from tests.integration.serving.running import PATIENCE
from tests.unit.serving.tiny_bundle import image_of

__all__ = ["CORNER_CASE", "SECOND", "VALID", "Camera", "camera", "frame"]

VALID, CORNER_CASE, UNVERIFIED = 0.5, 0.8, 1.0
SECOND = 1_000_000


def frame(sequence: int, level: float = VALID, capture_us: int | None = None) -> pb.Frame:
    tensor = pb.Tensor(datatype="FP32", shape=[3, 8, 8], data=image_of(level).tobytes())
    at = sequence * SECOND if capture_us is None else capture_us
    return pb.Frame(sequence=sequence, capture_us=at, tensor=tensor)


class Camera:
    """One connection: sends on demand, and reads on demand."""

    def __init__(self, channel: grpc.Channel, **settings: object) -> None:
        self._requests: queue.Queue[pb.WatchRequest | None] = queue.Queue()
        self._requests.put(pb.WatchRequest(settings=pb.WatchSettings(**settings)))
        requests = iter(self._requests.get, None)
        self.call = GuardServiceStub(channel).Watch(requests, timeout=PATIENCE)

    def send(self, *frames: pb.Frame) -> None:
        for each in frames:
            self._requests.put(pb.WatchRequest(frame=each))

    def ask(self, each: pb.Frame) -> pb.WatchResponse:
        self.send(each)
        return next(self.call)

    def finish(self) -> list[pb.WatchResponse]:
        """Close this side and return the answers that are left."""
        self._requests.put(None)
        return list(self.call)

    def end(self) -> tuple[grpc.StatusCode, str]:
        """Return the status with which the server ends the stream."""
        with pytest.raises(grpc.RpcError):
            list(self.call)
        self._requests.put(None)
        return self.call.code(), self.call.details()


@contextmanager
def camera(channel: grpc.Channel, **settings: object) -> Iterator[Camera]:
    made = Camera(channel, **settings)
    try:
        yield made
    finally:
        made.finish()
