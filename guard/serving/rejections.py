"""Why a request is turned away without a verdict.

    Rejection (CornerguardError)
    ├── UnknownModel      no such model is served
    ├── NotAllowed        the operator does not let clients do this
    ├── NotLoaded         the bundle of a model is refused, or cannot be run
    ├── Overloaded        the queue is full, or the caller asks too often
    ├── Expired           the deadline passed while the request waited
    ├── Unready           no worker of the model lives; one is being started
    ├── Silent            no frame came for too long
    ├── Superseded        another connection took the stream over
    ├── Stopping          the server takes no more requests
    └── Unauthenticated   the caller brought no valid token

A request that is wrong in itself raises `guard.errors.BadInput`.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, NoReturn, TypeVar

import grpc

from guard.errors import BadInput, CornerguardError
from guard.serving.metrics import Metrics
from guard.serving.retry_hints import hint

__all__ = [
    "Expired",
    "NotAllowed",
    "NotLoaded",
    "Overloaded",
    "Rejection",
    "Silent",
    "Stopping",
    "Superseded",
    "Unauthenticated",
    "UnknownModel",
    "Unready",
    "answer",
    "explain",
    "turn_away",
]

log = logging.getLogger(__name__)
Request = TypeVar("Request")
Response = TypeVar("Response")


class Rejection(CornerguardError):
    """A request is turned away; the message says why in one line.

    Attributes:
        status: what the call ends with.
    """

    status: ClassVar[grpc.StatusCode]

    def wait(self, metrics: Metrics) -> float | None:
        """Return the seconds after which to come again; None where that need not help."""
        return None


class UnknownModel(Rejection):
    """No such model is served."""

    status = grpc.StatusCode.NOT_FOUND


class NotAllowed(Rejection):
    """The operator does not let clients do this."""

    status = grpc.StatusCode.PERMISSION_DENIED


class NotLoaded(Rejection):
    """The bundle of a model is refused, or cannot be run."""

    status = grpc.StatusCode.FAILED_PRECONDITION


class Overloaded(Rejection):
    """The queue is full, or the caller asks too often; it may try again later.

    Args:
        message: what there is too much of.
        seconds: when to try again; None for the time in which a queue such as now drains.
    """

    status = grpc.StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, message: str, seconds: float | None = None) -> None:
        super().__init__(message)
        self._seconds = seconds

    def wait(self, metrics: Metrics) -> float | None:
        return metrics.pace.wait() if self._seconds is None else self._seconds


class Expired(Rejection):
    """The deadline passed while the request waited; it was not run."""

    status = grpc.StatusCode.DEADLINE_EXCEEDED


class Unready(Rejection):
    """No worker of the model lives, and has not for a while; one is being started."""

    status = grpc.StatusCode.UNAVAILABLE

    def wait(self, metrics: Metrics) -> float | None:
        return 1.0  # about what a worker takes to start


class Silent(Rejection):
    """No frame came for too long; the stream is still known for a while."""

    status = grpc.StatusCode.DEADLINE_EXCEEDED


class Superseded(Rejection):
    """Another connection took the stream over."""

    status = grpc.StatusCode.ABORTED


class Stopping(Rejection):
    """The server takes no more requests."""

    status = grpc.StatusCode.UNAVAILABLE


class Unauthenticated(Rejection):
    """The caller brought no valid token."""

    status = grpc.StatusCode.UNAUTHENTICATED


async def answer(
    handle: Callable[[Request, float | None], Awaitable[Response]],
    request: Request,
    context: "grpc.aio.ServicerContext[Any, Any]",
    metrics: Metrics,
) -> Response:
    """Await `handle(request, seconds left)`, and turn its errors into a gRPC status."""
    try:
        return await handle(request, context.time_remaining())
    except Rejection as error:
        await turn_away(context, error, metrics)
    except Exception as error:
        status, message = explain(error, metrics)
    await context.abort(status, message)


def explain(error: Exception, metrics: Metrics) -> tuple[grpc.StatusCode, str]:
    """Count a request that failed, and return the status and the message that say why."""
    if isinstance(error, BadInput):
        status, message = grpc.StatusCode.INVALID_ARGUMENT, str(error)
    elif isinstance(error, Rejection):
        status, message = error.status, str(error)
    else:
        log.error("a request failed", exc_info=error)
        status, message = grpc.StatusCode.INTERNAL, "the server failed; its log says why"
    metrics.rejected.labels(status.name.lower()).inc()
    return status, message


async def turn_away(
    context: "grpc.aio.ServicerContext[Any, Any]", rejection: Rejection, metrics: Metrics
) -> NoReturn:
    """Count a rejection and end the call with it, with a hint when to come again where it helps."""
    metrics.rejected.labels(rejection.status.name.lower()).inc()
    message, trailing = str(rejection), tuple(context.trailing_metadata() or ())
    if (seconds := rejection.wait(metrics)) is not None:
        trailing += hint(rejection.status, message, seconds)
    await context.abort(rejection.status, message, trailing)
