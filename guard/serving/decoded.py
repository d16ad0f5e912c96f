"""Messages that do not decode: refused as bad input, where gRPC would say UNKNOWN."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from guard.errors import BadInput, one_line
from guard.serving.behaviours import Behaviour, Context, Handler, behaviour_of, with_behaviour
from guard.serving.metrics import Metrics
from guard.serving.rejections import explain

__all__ = ["Decoded"]


class Decoded:
    """Stands before a server while services are added to it.

    A call whose message does not decode ends with INVALID_ARGUMENT; so does a stream, after the
    messages before it are answered.

    Args:
        server: what takes the services.
        metrics: counts what is refused.
    """

    def __init__(self, server: Any, metrics: Metrics) -> None:
        self._server, self._metrics = server, metrics

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Take a service; the generated `add_…_to_server` functions call this."""
        forgiving = {name: self._forgiving(handler) for name, handler in handlers.items()}
        generic = grpc.method_handlers_generic_handler(service, forgiving)
        self._server.add_generic_rpc_handlers((generic,))
        self._server.add_registered_method_handlers(service, forgiving)

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Do nothing: the generated functions give the same handlers once more."""

    def _forgiving(self, handler: Handler) -> Handler:
        inner = behaviour_of(handler)
        behaviour = self._stream(inner) if handler.request_streaming else self._single(inner)
        return with_behaviour(handler, behaviour, _forgiving(handler.request_deserializer))

    def _single(self, inner: Behaviour) -> Behaviour:
        async def call(request: Any, context: Context) -> Any:
            if isinstance(request, _Undecodable):
                await self._refuse(_Malformed(request.reason), context)
            return await inner(request, context)

        return call

    def _stream(self, inner: Behaviour) -> Behaviour:
        async def call(requests: Any, context: Context) -> Any:
            try:
                return await inner(_messages(requests), context)
            except _Malformed as error:
                await self._refuse(error, context)

        return call

    async def _refuse(self, error: BadInput, context: Context) -> None:
        await context.abort(*explain(error, self._metrics))


@dataclass(frozen=True)
class _Undecodable:
    reason: str


class _Malformed(BadInput):
    """A message of a call or a stream does not decode."""


def _forgiving(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def forgiving(data: bytes) -> Any:
        try:
            return decode(data)
        except DecodeError as error:
            return _Undecodable(f"the message does not decode: {one_line(error)}")

    return forgiving


async def _messages(requests: Any) -> AsyncIterator[Any]:
    async for request in requests:
        if isinstance(request, _Undecodable):
            raise _Malformed(request.reason)
        yield request
