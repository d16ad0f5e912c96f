"""Why a request is turned away without a verdict.

    Rejection (CornerguardError)
    ├── UnknownModel      no such model is served
    ├── Overloaded        the queue is full, or the caller asks too often
    ├── Expired           the deadline passed while the request waited
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
    "Overloaded",
    "Rejection",
    "Stopping",
    "Unauthenticated",
    "UnknownModel",
    "answer",
    "turn_away",
]

log = logging.getLogger(__name__)
Request = TypeVar("Request")
Response = TypeVar("Response")


class Rejection(CornerguardError):
    """A request is turned away; the message says why in one line."""

    status: ClassVar[grpc.StatusCode]


class UnknownModel(Rejection):
    """No such model is served."""

    status = grpc.StatusCode.NOT_FOUND


class Overloaded(Rejection):
    """The queue is full, or the caller asks too often; it may try again later.

    Args:
        message: what there is too much of.
        seconds: when to try again; None for the time in which a queue such as now drains.
    """

    status = grpc.StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, message: str, seconds: float | None = None) -> None:
        super().__init__(message)
        self.seconds = seconds


class Expired(Rejection):
    """The deadline passed while the request waited; it was not run."""

    status = grpc.StatusCode.DEADLINE_EXCEEDED


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
    except BadInput as error:
        status, message = grpc.StatusCode.INVALID_ARGUMENT, str(error)
    except Rejection as error:
        await turn_away(context, error, metrics)
    except Exception:
        log.exception("a request failed")
        status, message = grpc.StatusCode.INTERNAL, "the server failed; its log says why"
    metrics.rejected.labels(status.name.lower()).inc()
    await context.abort(status, message)


async def turn_away(
    context: "grpc.aio.ServicerContext[Any, Any]", rejection: Rejection, metrics: Metrics
) -> NoReturn:
    """Count a rejection and end the call with it, with a hint when to come again where it helps."""
    metrics.rejected.labels(rejection.status.name.lower()).inc()
    message, trailing = str(rejection), tuple(context.trailing_metadata() or ())
    if isinstance(rejection, Overloaded):
        seconds = metrics.pace.wait() if rejection.seconds is None else rejection.seconds
        trailing += hint(message, seconds)
    await context.abort(rejection.status, message, trailing)
