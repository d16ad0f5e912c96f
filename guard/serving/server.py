"""`cornerguard serve`: load, listen, report ready; on a signal report not ready, drain, end."""

import asyncio
import gc
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from guard.serving.access_log import logged
from guard.serving.admission import Admission
from guard.serving.behaviours import Observer
from guard.serving.certificates import Certificates
from guard.serving.config import ServeSettings
from guard.serving.decoded import Decoded
from guard.serving.decoding import Decoders
from guard.serving.guard_service import GuardService
from guard.serving.inference_service import InferenceService
from guard.serving.listening import certificates, listen, options, warn_if_open
from guard.serving.logs import start_logging
from guard.serving.metrics import Metrics
from guard.serving.operations import OperationsServer
from guard.serving.protocol.guard_pb2_grpc import add_GuardServiceServicer_to_server
from guard.serving.protocol.inference_pb2_grpc import (
    add_GRPCInferenceServiceServicer_to_server,
)
from guard.serving.readiness import SERVICES, Readiness
from guard.serving.repository import Repository, models_to_serve
from guard.serving.stop_signal import leave_on_signals, stop_signal
from guard.serving.tracing import Traces

__all__ = ["serve"]

log = logging.getLogger(__name__)


def serve(bundles: Sequence[Path], settings: ServeSettings) -> None:
    """Serve bundles, and those of the settings, until SIGTERM or SIGINT, then drain and return.

    A second signal ends the process at once. Once ready, one line of JSON on the standard output
    names the addresses and the models: `{"grpc": "127.0.0.1:8001", "http": "127.0.0.1:8002",
    "models": [{"model": …, "version": …, "device": …}]}`; what the first of them says also stands
    beside the addresses. The log goes to the standard error output.

    Raises:
        BadBundle: a bundle must not be loaded, or its graph does not run.
        BadInput: no bundle is given, two have one name, a file of tokens or certificates is wrong,
            or OpenTelemetry is missing.
        CornerguardError: an address cannot be listened on.
    """
    leave_on_signals()
    start_logging(settings.logs.level)
    metrics = Metrics()
    tls = certificates(settings)
    observers: list[Observer] = [logged] if settings.logs.access else []
    traces = Traces(settings.tracing) if settings.tracing.endpoint else None
    if traces is not None:
        observers.append(traces.observer)
    repository = Repository(models_to_serve(bundles, settings), settings, metrics)
    admission = Admission(settings, metrics, observers, lambda: repository.full)
    warn_if_open(settings)
    try:
        asyncio.run(_Server(repository, settings, metrics, admission, tls).run())
    finally:
        if traces is not None:
            traces.close()


class _Server:
    def __init__(
        self,
        repository: Repository,
        settings: ServeSettings,
        metrics: Metrics,
        admission: Admission,
        tls: Certificates | None,
    ) -> None:
        self._repository, self._settings, self._metrics = repository, settings, metrics
        self._admission, self._tls = admission, tls
        self._readiness = Readiness(repository, metrics)

    async def run(self) -> None:
        """Load the models, listen, wait for a signal, and drain."""
        try:
            await self._repository.open()
            gc.collect()
            gc.freeze()  # what lives as long as the server is not looked through again and again
            await self._serve()
        finally:
            await self._repository.close(0.0)

    async def _serve(self) -> None:
        settings, tls, readiness = self._settings, self._tls, self._readiness
        decoders = Decoders(settings.decode_threads, settings.batching)
        operations = OperationsServer(
            settings.host,
            settings.http_port,
            self._metrics,
            lambda: readiness.ready,
            tls if settings.tls.http else None,
        )
        try:
            self._add_services(decoders)
            server = grpc.aio.server(options=options(settings))
            server.add_generic_rpc_handlers((self._admission,))
            ports = {"grpc": listen(server, settings.host, settings.grpc_port, tls)}
            probes = self._probes(ports)
            stop = stop_signal()
            watch = asyncio.create_task(self._repository.watch(settings.reload.poll))
            await readiness.live()
            for each in (server, *probes):
                await each.start()
            await readiness.begin()
            self._announce(ports | {"http": operations.port})
            following = asyncio.create_task(readiness.follow())
            log.info("stopping on %s", await stop)
            following.cancel()
            await readiness.end()
            watch.cancel()
            await asyncio.sleep(settings.shutdown.notice)
            await self._drain(server)
            for each in probes:
                await each.stop(None)
        finally:
            operations.close()
            decoders.close()

    async def _drain(self, server: grpc.aio.Server) -> None:
        """Answer what was taken, within the grace period."""
        clock = asyncio.get_running_loop().time
        end = clock() + self._settings.shutdown.grace
        # Late calls are told UNAVAILABLE meanwhile; a server that just stopped would cancel them,
        # which callers do not take as a reason to try elsewhere.
        await self._admission.close(end - clock())
        await self._repository.close(max(0.0, end - clock()))
        self._admission.dismiss_probes()
        await server.stop(max(0.0, end - clock()))

    def _add_services(self, decoders: Decoders) -> None:
        models, metrics, settings = self._repository, self._metrics, self._settings
        decoded = Decoded(self._admission, metrics)
        add_GRPCInferenceServiceServicer_to_server(  # type: ignore[no-untyped-call]
            InferenceService(
                models,
                decoders,
                metrics,
                lambda: self._readiness.welcome,
                settings.limits.stream_requests,
                settings.reload.api,
            ),
            decoded,
        )
        add_GuardServiceServicer_to_server(  # type: ignore[no-untyped-call]
            GuardService(models, decoders, settings.streams, metrics), decoded
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._readiness.health, decoded)
        names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(names), decoded)

    def _probes(self, ports: dict[str, int]) -> tuple[grpc.aio.Server, ...]:
        """Return the server of the probes' own port, if one is wanted."""
        settings = self._settings
        if settings.probe_port is None:
            return ()
        server = grpc.aio.server(options=options(settings))
        health_pb2_grpc.add_HealthServicer_to_server(self._readiness.health, server)
        ports["probe"] = listen(server, settings.host, settings.probe_port, None)
        return (server,)

    def _announce(self, ports: dict[str, int]) -> None:
        host = self._settings.host
        models = [
            {"model": model.name, "version": model.version, "device": model.device}
            for model in self._repository.models()
        ]
        addresses = {kind: f"{host}:{port}" for kind, port in ports.items()}
        line = {**addresses, **models[0], "models": models}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
