"""What handles a method's calls, as one kind of function that can be wrapped."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

__all__ = ["Behaviour", "Context", "Handler", "Observer", "behaviour_of", "with_behaviour"]

Context = Any
Handler = Any
"""A `grpc.RpcMethodHandler`, whose attributes its type does not name."""
Behaviour = Callable[[Any, Context], Awaitable[Any]]
"""Handles a call: takes its message or messages, returns the answer or writes its answers."""
Observer = Callable[[str, Behaviour], Behaviour]
"""Wraps what handles the calls of a method (`/package.Service/Method`), to log or trace them."""


def behaviour_of(handler: Handler) -> Behaviour:
    """Return what a handler does; one that yields its answers is turned into one that writes."""
    kinds = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
    behaviour = next(found for kind in kinds if (found := getattr(handler, kind)))
    if not inspect.isasyncgenfunction(behaviour):
        written: Behaviour = behaviour
        return written

    async def write(request: Any, context: Context) -> None:
        async for response in behaviour(request, context):
            await context.write(response)

    return write


def with_behaviour(
    handler: Handler, behaviour: Behaviour, decode: Callable[[bytes], Any] | None = None
) -> Handler:
    """Return a handler of the same messages that does something else, or decodes them otherwise."""
    sides = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    build: Any = sides[handler.request_streaming, handler.response_streaming]
    return build(behaviour, decode or handler.request_deserializer, handler.response_serializer)
