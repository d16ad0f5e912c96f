"""Whether requests are welcome, as every kind of probe is told it."""

import asyncio

from grpc_health.v1 import health, health_pb2

from guard.serving.metrics import Metrics
from guard.serving.protocol import guard_pb2, inference_pb2
from guard.serving.repository import Repository

__all__ = ["SERVICES", "Readiness"]

LOOK = 0.05
"""Seconds between two looks at whether the workers live."""
PATIENCE = 1.0
"""Seconds after which those who watch and do not read are no longer waited for."""
LIVENESS = "liveness"
"""A health service that is SERVING for as long as the process answers, for liveness probes."""
SERVICES = (
    inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name,
    guard_pb2.DESCRIPTOR.services_by_name["GuardService"].full_name,
)


class Readiness:
    """Ready is a server that takes requests, and every loaded model of which has a worker.

    One without models is ready as well, as Triton is: clients may load some. The readiness of a
    single model is `ModelReady`'s to tell.

    Attributes:
        health: answers `grpc.health.v1.Health`, for the server as a whole and for each service.
        welcome: whether requests are taken.
        ready: what was told last.
    """

    def __init__(self, repository: Repository, metrics: Metrics) -> None:
        self._repository, self._metrics = repository, metrics
        self.health = health.aio.HealthServicer()
        self.welcome = self.ready = False

    async def live(self) -> None:
        """Tell that the process answers."""
        await self.health.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)

    async def begin(self) -> None:
        """Tell that requests are welcome, if every model has a worker."""
        self.welcome = True
        await self._tell(self._repository.ready)

    async def follow(self) -> None:
        """Tell when a model has no worker any more, or all have one again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            if self._repository.ready != self.ready:
                await self._tell(self._repository.ready)

    async def end(self) -> None:
        """Tell that requests are no longer welcome."""
        self.welcome = False
        await self._tell(False)

    async def _tell(self, ready: bool) -> None:
        self.ready = ready
        self._metrics.ready.set(ready)
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if ready else states.NOT_SERVING
        services = [self.health.set(service, state) for service in ("", *SERVICES)]
        await asyncio.wait([asyncio.ensure_future(each) for each in services], timeout=PATIENCE)
