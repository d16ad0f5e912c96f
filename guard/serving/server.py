"""`cornerguard serve`: load, listen, report ready; on a signal report not ready, drain, end."""

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from guard.errors import CornerguardError
from guard.serving.config import ModelSettings, ServeSettings
from guard.serving.decoded import Decoded
from guard.serving.decoding import Decoders
from guard.serving.guard_service import GuardService
from guard.serving.inference_service import InferenceService
from guard.serving.metrics import Metrics
from guard.serving.operations import OperationsServer
from guard.serving.protocol import guard_pb2, inference_pb2
from guard.serving.protocol.guard_pb2_grpc import add_GuardServiceServicer_to_server
from guard.serving.protocol.inference_pb2_grpc import (
    add_GRPCInferenceServiceServicer_to_server,
)
from guard.serving.repository import Repository, models_to_serve

__all__ = ["serve"]

log = logging.getLogger(__name__)
SERVICES = (
    inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name,
    guard_pb2.DESCRIPTOR.services_by_name["GuardService"].full_name,
)
LOOK = 0.05
"""Seconds between two looks at whether the workers live."""


def serve(bundles: Sequence[Path], settings: ServeSettings) -> None:
    """Serve bundles, and those of the settings, until SIGTERM or SIGINT, then drain and return.

    Once ready, one line of JSON on the standard output names the addresses and the models:
    `{"grpc": "127.0.0.1:8001", "http": "127.0.0.1:8002", "models": [{"model": …, "version": …,
    "device": …}]}`; what the first of them says also stands beside the addresses.

    Raises:
        BadBundle: a bundle must not be loaded, or its graph does not run.
        BadInput: no bundle is given, or two have one name.
        CornerguardError: an address cannot be listened on.
    """
    models = models_to_serve(bundles, settings)
    asyncio.run(_Server(models, settings, Metrics()).run())


class _Server:
    def __init__(
        self, models: Mapping[str, ModelSettings], settings: ServeSettings, metrics: Metrics
    ) -> None:
        self._repository = Repository(models, settings, metrics)
        self._settings, self._metrics = settings, metrics
        self._ready = False

    async def run(self) -> None:
        """Load the models, listen, wait for a signal, and drain."""
        try:
            await self._repository.open()
            await self._serve()
        finally:
            await self._repository.close(self._settings.shutdown.grace)

    async def _serve(self) -> None:
        settings = self._settings
        decoders = Decoders(settings.decode_threads, settings.batching.queue)
        operations = OperationsServer(
            settings.host, settings.http_port, self._metrics, lambda: self._ready
        )
        try:
            server = self._services(decoders)
            port = self._listen(server)
            stop = _stop_signal()
            watch = asyncio.create_task(self._repository.watch(settings.reload.poll))
            await server.start()
            await self._report(True)
            self._announce(port, operations.port)
            following = asyncio.create_task(self._follow())
            log.info("stopping on %s", await stop)
            following.cancel()
            await self._report(False)
            watch.cancel()
            await asyncio.sleep(settings.shutdown.notice)
            grace = settings.shutdown.grace
            # Late calls are told UNAVAILABLE while the queue empties; a server that just stopped
            # would cancel them, which callers do not take as a reason to try elsewhere.
            await self._repository.close(grace)
            await server.stop(grace)
        finally:
            operations.close()
            decoders.close()

    def _services(self, decoders: Decoders) -> grpc.aio.Server:
        server = grpc.aio.server(options=self._options())
        decoded = Decoded(server, self._metrics)
        models, metrics, settings = self._repository, self._metrics, self._settings
        self._health = health.aio.HealthServicer()
        add_GRPCInferenceServiceServicer_to_server(  # type: ignore[no-untyped-call]
            InferenceService(
                models,
                decoders,
                metrics,
                lambda: self._ready,
                settings.limits.stream_requests,
                settings.reload.api,
            ),
            decoded,
        )
        add_GuardServiceServicer_to_server(  # type: ignore[no-untyped-call]
            GuardService(models, decoders, metrics), decoded
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, decoded)
        names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(names), decoded)
        return server

    def _options(self) -> list[tuple[str, int]]:
        limit = self._settings.limits.message_bytes
        # Without the last, a second server on the same port would silently take half the calls.
        return [("grpc.max_receive_message_length", limit), ("grpc.so_reuseport", 0)]

    def _listen(self, server: grpc.aio.Server) -> int:
        address = f"{self._settings.host}:{self._settings.grpc_port}"
        try:
            return server.add_insecure_port(address)
        except RuntimeError:
            raise CornerguardError(f"{address}: cannot be listened on; is it in use?") from None

    async def _follow(self) -> None:
        """Report not ready while no worker lives, and ready again when one does."""
        while True:
            await asyncio.sleep(LOOK)
            if self._repository.ready != self._ready:
                await self._report(self._repository.ready)

    async def _report(self, ready: bool) -> None:
        """Tell every kind of probe whether requests are welcome."""
        self._ready = ready
        self._metrics.ready.set(ready)
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if ready else states.NOT_SERVING
        for service in ("", *SERVICES):
            await self._health.set(service, state)

    def _announce(self, grpc_port: int, http_port: int) -> None:
        host = self._settings.host
        models = [
            {"model": model.name, "version": model.version, "device": model.device}
            for model in self._repository.models()
        ]
        addresses = {"grpc": f"{host}:{grpc_port}", "http": f"{host}:{http_port}"}
        line = {**addresses, **models[0], "models": models}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def _stop_signal() -> "asyncio.Future[str]":
    """Return a future that the first SIGTERM or SIGINT completes with its name."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[str] = loop.create_future()

    def complete(name: str) -> None:
        if not stop.done():
            stop.set_result(name)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, complete, number.name)
    return stop
