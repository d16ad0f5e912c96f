"""What an operator can set around the models: encryption, tokens, connections, logs, traces."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from guard.settings import Settings

__all__ = ["Connections", "Logs", "Tls", "Tokens", "Tracing"]


class Tls(Settings):
    """Encryption; the files are read again when they change, for connections made after that."""

    certificate: Path | None = None
    """A PEM file: the server's certificate, then those that lead to its authority. None: no TLS."""
    key: Path | None = None
    """A PEM file: the certificate's private key, without a password."""
    client_authority: Path | None = None
    """A PEM file: the authorities of clients, which then must show a certificate (mutual TLS)."""
    http: bool = False
    """Whether the operations port is encrypted in the same way."""

    @model_validator(mode="after")
    def _check(self) -> "Tls":
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key: give both or neither")
        if self.certificate is None and (self.client_authority is not None or self.http):
            raise ValueError("client_authority and http need certificate and key")
        return self


class Tokens(Settings):
    """Bearer tokens: `authorization: Bearer TOKEN`; a call without one is UNAUTHENTICATED."""

    file: Path | None = None
    """One token a line, of 16 characters or more, or `sha256:` and its hash in hexadecimal. None:
    no token is asked for. Read again when it changes."""
    exempt: tuple[Literal["health", "reflection"], ...] = ("health",)
    """What needs no token: `health` is grpc.health.v1.Health, ServerLive and ServerReady, since the
    probes of Kubernetes cannot bring one; `reflection` tells everyone what can be called."""


class Connections(Settings):
    """How long connections live, in seconds."""

    keepalive: float = Field(default=60.0, gt=0)
    """A connection that is silent for so long is asked whether it lives."""
    keepalive_timeout: float = Field(default=20.0, gt=0)
    """One that does not answer within this time is closed."""
    client_keepalive: float = Field(default=10.0, ge=0)
    """A client that asks the same more often than this is sent away (`too_many_pings`)."""
    idle: float | None = Field(default=None, gt=0)
    """One without a call for so long is closed."""
    age: float | None = Field(default=None, gt=0)
    """One of this age is closed, so that clients spread over new replicas."""
    age_grace: float = Field(default=30.0, ge=0)
    """How long the calls of a connection of that age may run on."""
    streams: int = Field(default=1000, ge=1)
    """Most calls at a time over one connection; further ones wait at the client."""


class Logs(Settings):
    """Lines of JSON on the standard error output."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is written."""
    access: bool = False
    """Whether each request gets a line, with its status, its time and its client."""


class Tracing(Settings):
    """OpenTelemetry spans; `pip install 'cornerguard[otel]'`."""

    endpoint: str | None = Field(default=None, min_length=1)
    """URL of an OTLP collector over gRPC, such as http://collector:4317; None: no traces. Headers
    and certificates are read from OpenTelemetry's own environment variables."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Which part of the requests is traced; a caller's own decision is followed."""
    service: str = Field(default="cornerguard", min_length=1)
    """What the traces call this server."""
