"""An id for every request: the caller's own if it brings one; it goes back, and into the log."""

import os
from collections.abc import Iterable
from typing import Any

from guard.serving.behaviours import Behaviour, Context
from guard.serving.logs import REQUEST_ID
from guard.serving.protocol.guard_pb2 import CheckRequest
from guard.serving.protocol.inference_pb2 import ModelInferRequest

__all__ = ["HEADER", "begin", "current", "identified"]

HEADER = "x-request-id"
LONGEST = 128
FIELDS: dict[type, str] = {CheckRequest: "request_id", ModelInferRequest: "id"}


def begin(metadata: Iterable[tuple[str, str | bytes]] | None, message: Any) -> str:
    """Choose the id of the request that the running task handles, and return it.

    It is that of the metadata `x-request-id`, else that of the message, else made up. One that is
    not 1 to 128 printable ASCII characters is not taken.
    """
    given = next((value for key, value in metadata or () if key == HEADER), "")
    if not _allowed(given):
        field = FIELDS.get(type(message))
        given = getattr(message, field) if field else ""
    chosen = given if isinstance(given, str) and _allowed(given) else os.urandom(8).hex()
    REQUEST_ID.set(chosen)
    return chosen


def current() -> str:
    """Return the id of the request that the running task handles; empty outside of one."""
    return REQUEST_ID.get()


def identified(inner: Behaviour) -> Behaviour:
    """Give each call its id, which goes back in the trailing metadata."""

    async def call(request: Any, context: Context) -> Any:
        identity = begin(context.invocation_metadata(), request)
        context.set_trailing_metadata(((HEADER, identity),))
        return await inner(request, context)

    return call


def _allowed(given: str | bytes) -> bool:
    return (
        isinstance(given, str)
        and 0 < len(given) <= LONGEST
        and given.isascii()
        and given.isprintable()
    )
