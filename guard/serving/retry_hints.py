"""When a caller that was turned away should come again."""

import math

from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

__all__ = ["DETAILS", "PUSHBACK", "Pace", "hint"]

PUSHBACK, DETAILS = "grpc-retry-pushback-ms", "grpc-status-details-bin"
"""Trailing metadata that says when to come again: to gRPC's own retries (gRFC A6), and to people
and other libraries, as a `google.rpc.Status` with a `RetryInfo`."""


class Pace:
    """How long the queue takes to drain, as the requests tell that went through it lately.

    By Little's law the time that requests spend here is their number over the rate at which they
    leave: a moving average of the former is the time in which as many leave as are here now.
    """

    WEIGHT = 0.1
    SHORTEST, LONGEST = 0.01, 10.0

    def __init__(self) -> None:
        self._seconds = 0.0

    def answered(self, seconds: float) -> None:
        """Count a request that took so many seconds from its arrival to its answer."""
        self._seconds += (seconds - self._seconds) * self.WEIGHT

    def wait(self) -> float:
        """Return the seconds after which there will be room, between 10 ms and 10 s."""
        return min(max(self._seconds, self.SHORTEST), self.LONGEST)


def hint(status: StatusCode, message: str, seconds: float) -> tuple[tuple[str, str | bytes], ...]:
    """Return trailing metadata of a refusal that asks to wait."""
    retry = RetryInfo()
    retry.retry_delay.FromNanoseconds(round(seconds * 1e9))
    detail = AnyMessage()
    detail.Pack(retry)
    refusal = Status(code=status.value[0], message=message, details=[detail])
    milliseconds = str(max(1, math.ceil(seconds * 1e3)))  # not a moment too early
    return (
        (PUSHBACK, milliseconds),
        (DETAILS, refusal.SerializeToString()),
    )
