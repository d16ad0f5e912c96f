"""What an operator can set: addresses, limits, batching, and how the server stops."""

from pathlib import Path

from pydantic import Field

from guard.serving.model_settings import Batching, Instances
from guard.settings import Settings

__all__ = ["Batching", "Instances", "Limits", "ServeSettings", "Shutdown"]


class Limits(Settings):
    """What one request may ask for; more is refused before any work is done on it."""

    message_bytes: int = Field(default=16 << 20, ge=1024, le=1 << 30)
    """Largest gRPC message that is received, in bytes."""
    pixels: int = Field(default=25_000_000, ge=1)
    """Most pixels of one image, read from its header before it is decoded."""


class Shutdown(Settings):
    """How the server stops, in seconds."""

    notice: float = Field(default=0.0, ge=0)
    """How long requests are still taken after readiness turned false, for load balancers to see."""
    grace: float = Field(default=10.0, ge=0)
    """How long requests that were taken may run on."""


class ServeSettings(Settings):
    """The settings of `cornerguard serve`."""

    host: str = "127.0.0.1"
    """Address that is listened on; the connections are not encrypted."""
    grpc_port: int = Field(default=8001, ge=0, le=65535)
    """Port of the gRPC services; 0 takes a free one."""
    http_port: int = Field(default=8002, ge=0, le=65535)
    """Port of `/metrics`, `/livez` and `/readyz`; 0 takes a free one."""
    name: str | None = Field(default=None, min_length=1)
    """What clients call the model; by default the name of the bundle's folder."""
    public_key: Path | None = None
    """A PEM file, the key that must have signed the bundle; none takes one without a signature."""
    precision: str = "float32"
    """Which of the bundle's graphs is run; each has its own calibrated threshold."""
    threads: int = Field(default=0, ge=0)
    """Threads of one run of the model; 0 divides the CPU cores among the instances."""
    decode_threads: int = Field(default=2, ge=1)
    """Threads that decode JPEG and PNG files."""
    limits: Limits = Limits()
    batching: Batching = Batching()
    instances: Instances = Instances()
    shutdown: Shutdown = Shutdown()
