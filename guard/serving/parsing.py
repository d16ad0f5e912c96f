"""Messages that are not protobuf: the caller's mistake, and said to be.

gRPC answers them UNKNOWN, with a traceback in the log, as if the server had failed.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError

__all__ = ["Parsing"]

Context = Any
Handler = Any
Refuse = Callable[[Context], Awaitable[None]]
_UNPARSED = object()


class Parsing:
    """A server to which services are added, so that what does not parse is INVALID_ARGUMENT.

    Pass it in place of the server to the generated `add_…_to_server`. A method that answers with a
    stream must be an asynchronous generator.

    Args:
        server: has the services once they are added.
        refused: is called for each message that does not parse.
    """

    def __init__(self, server: grpc.aio.Server, refused: Callable[[], None]) -> None:
        self._server, self._refused = server, refused

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Do nothing: the generated code registers the same methods by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Add a service's methods."""
        checked = {name: _checked(handler, self._refuse) for name, handler in handlers.items()}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, checked),)
        )
        self._server.add_registered_method_handlers(service, checked)

    async def _refuse(self, context: Context) -> None:
        self._refused()
        await context.abort(
            grpc.StatusCode.INVALID_ARGUMENT, "the message is not the method's request"
        )


def _checked(handler: Handler, refuse: Refuse) -> Handler:
    kinds = (
        (handler.unary_unary, _one_answer, grpc.unary_unary_rpc_method_handler),
        (handler.unary_stream, _many_answers, grpc.unary_stream_rpc_method_handler),
        (handler.stream_stream, _many_answers, grpc.stream_stream_rpc_method_handler),
    )
    handle, wrap, made = next(kind for kind in kinds if kind[0] is not None)
    return made(
        wrap(handle, refuse), _lenient(handler.request_deserializer), handler.response_serializer
    )


def _lenient(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def parsed(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError:
            return _UNPARSED

    return parsed


def _one_answer(handle: Callable[..., Any], refuse: Refuse) -> Callable[..., Any]:
    async def answer(request: Any, context: Context) -> Any:
        if request is _UNPARSED:
            await refuse(context)
        return await handle(request, context)

    return answer


def _many_answers(handle: Callable[..., Any], refuse: Refuse) -> Callable[..., Any]:
    async def parsed(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        async for request in requests:
            if request is _UNPARSED:
                await refuse(context)
            yield request

    async def answer(request: Any, context: Context) -> AsyncIterator[Any]:
        if request is _UNPARSED:
            await refuse(context)
        of_stream = hasattr(request, "__aiter__")
        async for response in handle(parsed(request, context) if of_stream else request, context):
            yield response

    return answer
