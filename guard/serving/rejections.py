"""Why a request is turned away without a verdict.

    Rejection (CornerguardError)
    ├── UnknownModel   no such model is served
    ├── Overloaded     the queue is full
    ├── Expired        the deadline passed while the request waited
    ├── Silent         no frame came for too long
    ├── Superseded     another connection took the stream over
    └── Stopping       the server takes no more requests

A request that is wrong in itself raises `guard.errors.BadInput`.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, TypeVar

import grpc

from guard.errors import BadInput, CornerguardError
from guard.serving.metrics import Metrics

__all__ = [
    "Expired",
    "Overloaded",
    "Rejection",
    "Silent",
    "Stopping",
    "Superseded",
    "UnknownModel",
    "answer",
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
    """The queue is full; the caller may try again later."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED


class Expired(Rejection):
    """The deadline passed while the request waited; it was not run."""

    status = grpc.StatusCode.DEADLINE_EXCEEDED


class Silent(Rejection):
    """No frame came for too long; the stream is still known for a while."""

    status = grpc.StatusCode.DEADLINE_EXCEEDED


class Superseded(Rejection):
    """Another connection took the stream over."""

    status = grpc.StatusCode.ABORTED


class Stopping(Rejection):
    """The server takes no more requests."""

    status = grpc.StatusCode.UNAVAILABLE


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
        status, message = error.status, str(error)
    except Exception:
        log.exception("a request failed")
        status, message = grpc.StatusCode.INTERNAL, "the server failed; its log says why"
    metrics.rejected.labels(status.name.lower()).inc()
    await context.abort(status, message)
