"""What an operator can set: addresses, limits, batching, and how the server stops."""

from pathlib import Path

from pydantic import Field

from guard.settings import Settings

__all__ = ["Batching", "Limits", "ServeSettings", "Shutdown", "Streams"]


class Limits(Settings):
    """What one request may ask for; more is refused before any work is done on it."""

    message_bytes: int = Field(default=16 << 20, ge=1024, le=1 << 30)
    """Largest gRPC message that is received, in bytes."""
    pixels: int = Field(default=25_000_000, ge=1)
    """Most pixels of one image, read from its header before it is decoded."""


class Batching(Settings):
    """How requests share runs of the model."""

    max_batch: int = Field(default=32, ge=1)
    """Most images of one run, and of one request."""
    queue: int = Field(default=256, ge=1)
    """Most images that wait; further requests are refused at once."""


class Streams(Settings):
    """How streams of frames are watched, and what is kept of them."""

    streams: int = Field(default=256, ge=1)
    """Most streams that are known at once, connected or not; a further one is refused."""
    idle: float = Field(default=60.0, gt=0)
    """A connection without frames is ended, and a stream without connection is forgotten, after
    so many seconds."""
    waiting: int = Field(default=2, ge=1, le=64)
    """Most sampled frames of one stream that wait to be judged; the oldest gives way."""
    frame_seconds: float = Field(default=2.0, gt=0)
    """A frame that waits longer for a run of the model is UNVERIFIED."""


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
    """Threads of one run of the model; 0 takes one for each CPU core."""
    decode_threads: int = Field(default=2, ge=1)
    """Threads that decode JPEG and PNG files."""
    limits: Limits = Limits()
    batching: Batching = Batching()
    streams: Streams = Streams()
    shutdown: Shutdown = Shutdown()
