"""How a call ended, by the name of its gRPC status."""

import asyncio
from typing import Any

import grpc

__all__ = ["status_of"]

_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


def status_of(context: Any, failure: BaseException | None) -> str:
    """Return the status of a call whose handler returned, or raised `failure`."""
    if isinstance(failure, asyncio.CancelledError):
        return "CANCELLED"
    code = context.code()
    number = code.value[0] if isinstance(code, grpc.StatusCode) else code
    if failure is not None and not number:
        return "UNKNOWN"  # what gRPC makes of an exception
    return _NAMES.get(number or 0, "UNKNOWN")
