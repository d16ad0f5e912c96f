"""Whether a server takes requests, by the health service that load balancers ask too."""

from typing import Final

import grpc
from grpc_health.v1 import health_pb2

from guard.calling.retries import Code, explain

__all__ = ["QUESTION", "is_ready", "unready"]

QUESTION: Final = health_pb2.HealthCheckRequest(service="guard.v1.GuardService")
AWAY: Final = (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED, Code.CANCELLED)


def is_ready(answer: health_pb2.HealthCheckResponse) -> bool:
    """Read the server's answer to `QUESTION`."""
    ready: bool = answer.status == health_pb2.HealthCheckResponse.SERVING
    return ready


def unready(error: grpc.RpcError, target: str) -> bool:
    """Return False for a server that is not there, is starting or has too much to do.

    Raises:
        CornerguardError: the server will never be ready for this client.
    """
    if error.code() not in AWAY:
        raise explain(error, target)
    return False
