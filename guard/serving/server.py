"""`cornerguard serve`: load, listen, report ready; on a signal report not ready, drain, end."""

import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from guard.errors import CornerguardError
from guard.serving.config import ServeSettings
from guard.serving.decoding import Decoders
from guard.serving.guard_service import GuardService
from guard.serving.hosted import HostedModel, Models
from guard.serving.inference_service import InferenceService
from guard.serving.metrics import Metrics
from guard.serving.operations import OperationsServer
from guard.serving.protocol import guard_pb2, inference_pb2
from guard.serving.protocol.guard_pb2_grpc import add_GuardServiceServicer_to_server
from guard.serving.protocol.inference_pb2_grpc import (
    add_GRPCInferenceServiceServicer_to_server,
)

__all__ = ["serve"]

log = logging.getLogger(__name__)
SERVICES = (
    inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name,
    guard_pb2.DESCRIPTOR.services_by_name["GuardService"].full_name,
)


def serve(bundle: Path, settings: ServeSettings) -> None:
    """Serve a bundle until SIGTERM or SIGINT, then drain and return.

    Once ready, one line of JSON on the standard output names the addresses and the model:
    `{"grpc": "127.0.0.1:8001", "http": "127.0.0.1:8002", "model": …, "version": …, "device": …}`.

    Raises:
        BadBundle: the bundle must not be loaded, or its graph does not run.
        CornerguardError: an address cannot be listened on.
    """
    metrics = Metrics()
    model = HostedModel(bundle, settings, metrics)
    try:
        asyncio.run(_Server(model, settings, metrics).run())
    finally:
        model.close(settings.shutdown.grace)


class _Server:
    def __init__(self, model: HostedModel, settings: ServeSettings, metrics: Metrics) -> None:
        self._model, self._settings, self._metrics = model, settings, metrics
        self._ready = False

    async def run(self) -> None:
        """Listen, wait for a signal, and drain."""
        settings = self._settings
        decoders = Decoders(settings.decode_threads, settings.batching.queue)
        operations = OperationsServer(
            settings.host, settings.http_port, self._metrics, lambda: self._ready
        )
        try:
            server = self._services(decoders)
            port = self._listen(server)
            stop = _stop_signal()
            await server.start()
            await self._report(True)
            self._announce(port, operations.port)
            log.info("stopping on %s", await stop)
            await self._report(False)
            await asyncio.sleep(settings.shutdown.notice)
            grace = settings.shutdown.grace
            # Late calls are told UNAVAILABLE while the queue empties; a server that just stopped
            # would cancel them, which callers do not take as a reason to try elsewhere.
            await asyncio.to_thread(self._model.close, grace)
            await server.stop(grace)
        finally:
            operations.close()
            decoders.close()

    def _services(self, decoders: Decoders) -> grpc.aio.Server:
        server = grpc.aio.server(options=self._options())
        models, metrics = Models([self._model]), self._metrics
        self._health = health.aio.HealthServicer()
        add_GRPCInferenceServiceServicer_to_server(  # type: ignore[no-untyped-call]
            InferenceService(models, decoders, metrics, lambda: self._ready), server
        )
        add_GuardServiceServicer_to_server(  # type: ignore[no-untyped-call]
            GuardService(models, decoders, metrics), server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
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

    async def _report(self, ready: bool) -> None:
        """Tell every kind of probe whether requests are welcome."""
        self._ready = ready
        self._metrics.ready.set(ready)
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if ready else states.NOT_SERVING
        for service in ("", *SERVICES):
            await self._health.set(service, state)

    def _announce(self, grpc_port: int, http_port: int) -> None:
        host, model = self._settings.host, self._model
        line = {
            "grpc": f"{host}:{grpc_port}",
            "http": f"{host}:{http_port}",
            "model": model.name,
            "version": model.version,
            "device": model.device,
        }
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
