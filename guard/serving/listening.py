"""The addresses that are listened on, and how connections are kept."""

import ipaddress
import logging

import grpc

from guard.errors import CornerguardError
from guard.serving.certificates import Certificates
from guard.serving.config import ServeSettings

__all__ = ["certificates", "listen", "options", "warn_if_open"]

log = logging.getLogger(__name__)


def options(settings: ServeSettings) -> list[tuple[str, int]]:
    """Return gRPC's own options of a server."""
    kept = settings.connections
    seconds = {
        "grpc.keepalive_time_ms": kept.keepalive,
        "grpc.keepalive_timeout_ms": kept.keepalive_timeout,
        "grpc.http2.min_ping_interval_without_data_ms": kept.client_keepalive,
        "grpc.max_connection_idle_ms": kept.idle,
        "grpc.max_connection_age_ms": kept.age,
        "grpc.max_connection_age_grace_ms": None if kept.age is None else kept.age_grace,
    }
    return [
        ("grpc.max_receive_message_length", settings.limits.message_bytes),
        ("grpc.max_concurrent_streams", kept.streams),
        ("grpc.keepalive_permit_without_calls", 1),
        # A second server on the same port would silently take half the calls.
        ("grpc.so_reuseport", 0),
        # Calls that nobody has looked at yet. Beyond the first number gRPC begins to cancel some,
        # where a refusal would say why and when to come again.
        ("grpc.server.max_pending_requests", 10_000),
        ("grpc.server.max_pending_requests_hard_limit", 20_000),
        *((name, round(value * 1000)) for name, value in seconds.items() if value is not None),
    ]


def certificates(settings: ServeSettings) -> Certificates | None:
    """Return what connections are encrypted with; None if they are not.

    Raises:
        BadInput: a file cannot be read or is wrong.
    """
    tls = settings.tls
    if tls.certificate is None or tls.key is None:
        return None
    return Certificates(tls.certificate, tls.key, tls.client_authority)


def listen(server: grpc.aio.Server, host: str, port: int, tls: Certificates | None) -> int:
    """Open a port, encrypted if there are certificates, and return its number.

    Raises:
        CornerguardError: the address cannot be listened on.
    """
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if tls is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, tls.credentials())
    except RuntimeError:
        raise CornerguardError(f"{address}: cannot be listened on; is it in use?") from None


def warn_if_open(settings: ServeSettings) -> None:
    """Say in one line of the log that strangers can read along, if they can."""
    if settings.tls.certificate is None and not _is_loopback(settings.host):
        log.warning(
            "requests on %s are not encrypted: set tls.certificate and tls.key, or see to it that"
            " only trusted machines reach it",
            settings.host,
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
