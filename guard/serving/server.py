"""`cornerguard serve`: load, listen, report ready; on a signal report not ready, drain, end."""

import asyncio
import gc
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
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
from guard.serving.protocol import guard_pb2, inference_pb2
from guard.serving.protocol.guard_pb2_grpc import add_GuardServiceServicer_to_server
from guard.serving.protocol.inference_pb2_grpc import (
    add_GRPCInferenceServiceServicer_to_server,
)
from guard.serving.repository import Repository, models_to_serve
from guard.serving.stop_signal import leave_on_signals, stop_signal
from guard.serving.tracing import Traces

__all__ = ["serve"]

log = logging.getLogger(__name__)
LOOK = 0.05
"""Seconds between two looks at whether the workers live."""
LIVENESS = "liveness"
"""A health service that is SERVING for as long as the process answers, for liveness probes."""
SERVICES = (
    inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name,
    guard_pb2.DESCRIPTOR.services_by_name["GuardService"].full_name,
)


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
    admission = Admission(settings, metrics, observers)
    warn_if_open(settings)
    repository = Repository(models_to_serve(bundles, settings), settings, metrics)
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
        self._welcome = self._ready = False
        self._health = health.aio.HealthServicer()

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
        settings, tls, admission = self._settings, self._tls, self._admission
        decoders = Decoders(settings.decode_threads, settings.batching)
        operations = OperationsServer(
            settings.host,
            settings.http_port,
            self._metrics,
            lambda: self._ready,
            tls if settings.tls.http else None,
        )
        try:
            self._add_services(decoders)
            server = grpc.aio.server(options=options(settings))
            server.add_generic_rpc_handlers((admission,))
            ports = {"grpc": listen(server, settings.host, settings.grpc_port, tls)}
            probes = self._probes(ports)
            stop = stop_signal()
            watch = asyncio.create_task(self._repository.watch(settings.reload.poll))
            await self._health.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)
            for each in (server, *probes):
                await each.start()
            self._welcome = True
            await self._report(self._repository.ready)
            self._announce(ports | {"http": operations.port})
            following = asyncio.create_task(self._follow())
            log.info("stopping on %s", await stop)
            following.cancel()
            self._welcome = False
            await self._report(False)
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
                lambda: self._welcome,
                settings.limits.stream_requests,
                settings.reload.api,
            ),
            decoded,
        )
        add_GuardServiceServicer_to_server(  # type: ignore[no-untyped-call]
            GuardService(models, decoders, settings.streams, metrics), decoded
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, decoded)
        names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(names), decoded)

    def _probes(self, ports: dict[str, int]) -> tuple[grpc.aio.Server, ...]:
        """Return the server of the probes' own port, if one is wanted."""
        settings = self._settings
        if settings.probe_port is None:
            return ()
        server = grpc.aio.server(options=options(settings))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        ports["probe"] = listen(server, settings.host, settings.probe_port, None)
        return (server,)

    async def _follow(self) -> None:
        """Report not ready while a model has no worker, and ready again when all have one."""
        while True:
            await asyncio.sleep(LOOK)
            if self._repository.ready != self._ready:
                await self._report(self._repository.ready)

    async def _report(self, ready: bool) -> None:
        """Tell every kind of probe whether requests are welcome, and every model can be called."""
        self._ready = ready
        self._metrics.ready.set(ready)
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if ready else states.NOT_SERVING
        services = [self._health.set(service, state) for service in ("", *SERVICES)]
        # One who watches and does not read could hold this up for ever.
        await asyncio.wait([asyncio.ensure_future(each) for each in services], timeout=1.0)

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
