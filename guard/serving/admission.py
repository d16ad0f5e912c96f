"""The door that every call passes: who may call, how much and how often, and an end to it all."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from time import monotonic
from typing import Any

import grpc

from guard.serving.bearer_tokens import BearerTokens
from guard.serving.behaviours import (
    Behaviour,
    Context,
    Handler,
    Observer,
    behaviour_of,
    with_behaviour,
)
from guard.serving.config import ServeSettings
from guard.serving.metrics import Metrics
from guard.serving.open_streams import OpenStreams
from guard.serving.rates import Rates
from guard.serving.rejections import (
    Overloaded,
    Rejection,
    Stopping,
    Unauthenticated,
    turn_away,
)
from guard.serving.request_ids import identified

__all__ = ["Admission"]

HEALTH, REFLECTION = "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"
EXEMPTIONS = {
    HEALTH: "health",
    REFLECTION: "reflection",
    "/inference.GRPCInferenceService/ServerLive": "health",
    "/inference.GRPCInferenceService/ServerReady": "health",
}
"""By service or method: calls that are always taken, and need no token where settings say so."""
JUDGING = ("/guard.v1.GuardService/Check", "/inference.GRPCInferenceService/ModelInfer")
_bearer: ContextVar[str | None] = ContextVar("bearer", default=None)
_refusal: ContextVar[Rejection] = ContextVar("refusal")
"""Why the call that is being handled is turned away before its message."""


class Admission(grpc.GenericRpcHandler):
    """Hands calls to the services, which are added to it in place of the server.

    A handler of its own costs less than interceptors, through which gRPC would send each call. A
    call without a token, or for models that are overloaded, is refused before its message is
    received: then that costs the least.

    Args:
        settings: limits and tokens.
        metrics: counts refusals, and knows how long requests take.
        observers: what else is done around every call; the last one is outermost.
        full: why no image can be judged now, whoever asks; empty if some can.

    Raises:
        BadInput: the file of tokens is wrong.
    """

    def __init__(
        self,
        settings: ServeSettings,
        metrics: Metrics,
        observers: Sequence[Observer] = (),
        full: Callable[[], str] = str,
    ) -> None:
        limits, tokens = settings.limits, settings.tokens
        self._metrics, self._observers, self._full = metrics, observers, full
        self._tokens = BearerTokens(tokens.file) if tokens.file else None
        self._exempt = frozenset(tokens.exempt)
        rate = limits.requests_per_second
        self._rates = None if rate is None else Rates(rate, limits.burst)
        self._most = limits.in_flight
        self._in_flight = 0
        metrics.in_flight.set_function(lambda: self._in_flight)
        self._handlers: dict[str, Handler] = {}
        self._refusals: dict[str, Handler] = {}
        """What turns calls away before their message, by the method."""
        self._private: set[str] = set()
        self._streams, self._probes = OpenStreams(), OpenStreams()
        self._empty: asyncio.Event | None = None

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Take a service; the generated `add_…_to_server` functions call this."""
        for name, handler in handlers.items():
            path = f"/{service}/{name}"
            exemption = EXEMPTIONS.get(service, EXEMPTIONS.get(path))
            refuse = self._observed(path, self._turn_away)
            self._refusals[path] = grpc.stream_stream_rpc_method_handler(refuse)
            if exemption not in self._exempt:
                self._private.add(path)
            guarded = self._probe if exemption else self._guarded
            self._handlers[path] = with_behaviour(handler, guarded(path, handler))

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Do nothing: the generated functions give the same handlers once more."""

    def service(self, details: grpc.HandlerCallDetails) -> Handler | None:
        """Find what handles a call."""
        path = details.method
        if self._tokens is not None and path in self._private:
            bearer = self._tokens.bearer(details.invocation_metadata)
            if bearer is None:
                _refusal.set(Unauthenticated("authorization: a valid 'Bearer TOKEN' is wanted"))
                return self._refusals[path]
            _bearer.set(bearer)
        if path in JUDGING and self._empty is None and (full := self._full()):
            _refusal.set(Overloaded(full))
            return self._refusals[path]
        return self._handlers.get(path)

    async def close(self, seconds: float) -> None:
        """Refuse new calls, and return when those in hand are answered, or after so long."""
        self._empty = asyncio.Event()
        self._streams.end()
        if self._in_flight:
            try:
                await asyncio.wait_for(self._empty.wait(), seconds)
            except asyncio.TimeoutError:
                return

    def dismiss_probes(self) -> None:
        """End the calls that watch the server's health, which would hold up its end."""
        self._probes.end()

    def _guarded(self, path: str, handler: Handler) -> Behaviour:
        inner = behaviour_of(handler)
        if handler.request_streaming or handler.response_streaming:
            behaviour = self._counted(self._stream(inner, handler.request_streaming), None)
        else:
            behaviour = self._counted(inner, self._rates, timed=path in JUDGING)
        return self._observed(path, behaviour)

    def _observed(self, path: str, behaviour: Behaviour) -> Behaviour:
        for observer in self._observers:
            behaviour = observer(path, behaviour)
        return identified(behaviour)

    def _probe(self, path: str, handler: Handler) -> Behaviour:
        inner = behaviour_of(handler)
        if not handler.response_streaming:
            return inner

        async def call(requests: Any, context: Context) -> None:
            if await self._probes.was_cut(inner(requests, context)):
                await turn_away(context, Stopping("the server stopped"), self._metrics)

        return call

    def _counted(self, inner: Behaviour, rates: Rates | None, timed: bool = False) -> Behaviour:
        metrics, pace, most = self._metrics, self._metrics.pace, self._most

        async def call(request: Any, context: Context) -> Any:
            if self._empty is not None:
                await turn_away(context, Stopping("the server is stopping"), metrics)
            if most is not None and self._in_flight >= most:
                full = Overloaded(f"{most} requests are in hand, the most that are allowed")
                await turn_away(context, full, metrics)
            start = monotonic()
            if rates is not None and (wait := rates.take(_client(context), start)):
                await turn_away(context, Overloaded("too many requests from here", wait), metrics)
            self._in_flight += 1
            try:
                answer = await inner(request, context)
                if timed:
                    pace.answered(monotonic() - start)
                return answer
            finally:
                self._in_flight -= 1
                if self._empty is not None and not self._in_flight:
                    self._empty.set()

        return call

    def _stream(self, inner: Behaviour, reads: bool) -> Behaviour:
        streams, rates = self._streams, self._rates

        async def call(requests: Any, context: Context) -> None:
            was_cut = False

            async def paced() -> None:
                while rates is not None and (wait := rates.take(_client(context), monotonic())):
                    await asyncio.sleep(wait)

            def cut() -> None:
                nonlocal was_cut
                was_cut = True

            if reads:
                taken = streams.messages(requests, paced if rates is not None else None, cut)
                await inner(taken, context)
            else:
                was_cut = await streams.was_cut(inner(requests, context))
            if was_cut:
                await turn_away(context, Stopping("the server is stopping"), self._metrics)

        return call

    async def _turn_away(self, requests: Any, context: Context) -> None:
        await turn_away(context, _refusal.get(), self._metrics)


def _client(context: Context) -> str:
    """Return the bearer of the token, else the address without the port."""
    bearer = _bearer.get()
    return bearer or str(context.peer()).rpartition(":")[0]
