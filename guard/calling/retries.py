"""When a failed call is worth another attempt, and how long to wait for it."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from guard.errors import BadInput, CornerguardError
from guard.serving.retry_hints import DETAILS, PUSHBACK

__all__ = ["WORTH", "Attempts", "Retries", "explain", "hint"]

Code = grpc.StatusCode
# CANCELLED is among them: this client cancels nothing that it waits for, so it is what a server in
# its last moments says of a call that it did not take.
WORTH: Final = (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.CANCELLED)
DRAW: Final = random.SystemRandom().random


@dataclass(frozen=True)
class Retries:
    """Exponential backoff: before attempt n + 1 at most `first` × 2ⁿ⁻¹ seconds, and `longest`."""

    first: float = 0.05
    longest: float = 2.0


class Attempts:
    """The attempts of one call, which share its time.

    Each wait is drawn evenly between 0 and the backoff's bound, so that the clients of a server
    that comes back do not all come at once; and it is never shorter than the server asks for.

    Args:
        retries: the backoff.
        target: what messages call the server.
        seconds: for all attempts and the waits between them.
        worth: the codes that another attempt may cure.
        subject: what messages call what was asked about; may be empty.
        draw: returns a number in [0, 1).
    """

    def __init__(
        self,
        retries: Retries,
        target: str,
        seconds: float,
        worth: tuple[grpc.StatusCode, ...] = WORTH,
        subject: str = "",
        draw: Callable[[], float] = DRAW,
    ) -> None:
        self._retries, self._target, self._draw = retries, target, draw
        self._worth, self._subject, self._seconds = worth, subject, seconds
        self._end: float | None = time.monotonic() + seconds
        self._bound = retries.first
        self._last: grpc.RpcError | None = None

    @property
    def left(self) -> float:
        """Seconds that are left."""
        now = time.monotonic()
        self._end = now + self._seconds if self._end is None else self._end
        return max(0.0, self._end - now)

    def renew(self) -> None:
        """Let the time begin anew with the next failure; the waits go on growing."""
        self._end = None

    def wait(self, error: grpc.RpcError) -> float:
        """Return how many seconds to wait before the next attempt.

        Raises:
            BadInput: the request is not allowed.
            CornerguardError: another attempt would not help, or there is no time for it.
        """
        code, asked = _code(error), hint(error)
        seconds = (asked or 0.0) + self._draw() * self._bound
        # gRPC itself says RESOURCE_EXHAUSTED, without a hint, of a message that is too large.
        hopeless = code == Code.RESOURCE_EXHAUSTED if asked is None else asked < 0
        if hopeless or code not in self._worth or seconds > self.left:
            # Where the time ran out, the attempt before says why.
            why = self._last if code == Code.DEADLINE_EXCEEDED and self._last else error
            raise explain(why, self._target, self._subject)
        self._bound = min(2 * self._bound, self._retries.longest)
        self._last = error
        return seconds


def hint(error: grpc.RpcError) -> float | None:
    """Return how many seconds the server asks to wait, negative for never; None if it does not."""
    trailers: dict[str, Any] = dict(_call(error).trailing_metadata() or ())
    if PUSHBACK in trailers:
        try:
            return int(trailers[PUSHBACK]) / 1000
        except ValueError:
            return -1.0  # gRFC A6: what cannot be read means no retry
    information = error_details_pb2.RetryInfo()
    try:
        details = status_pb2.Status.FromString(trailers.get(DETAILS, b"")).details
        if any(detail.Unpack(information) for detail in details):
            delay: timedelta = information.retry_delay.ToTimedelta()
            return delay.total_seconds()
    except DecodeError:
        pass  # details that cannot be read are no hint
    return None


def explain(error: grpc.RpcError, target: str, subject: str = "") -> CornerguardError:
    """Return the error that says in one line what went wrong, and whose fault it is."""
    code, details = _code(error), " ".join((_call(error).details() or "").split())
    if code in (Code.INVALID_ARGUMENT, Code.NOT_FOUND):
        return BadInput(f"{subject}: {details}" if subject else details)
    return CornerguardError(f"{target}: {code.name}: {details}")


def _code(error: grpc.RpcError) -> grpc.StatusCode:
    code: grpc.StatusCode = _call(error).code()
    return code


def _call(error: grpc.RpcError) -> Any:
    """The errors of both kinds of channel have the call's methods; their base does not say so."""
    return error
