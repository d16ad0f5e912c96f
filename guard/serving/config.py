"""What an operator can set: addresses, limits, batching, and how the server stops."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from guard.serving.model_settings import Batching, Instances
from guard.serving.operations_settings import Connections, Logs, Tls, Tokens, Tracing
from guard.settings import Settings

__all__ = [
    "Limits",
    "ModelSettings",
    "Reload",
    "ServeSettings",
    "Shutdown",
    "Streams",
]


class Limits(Settings):
    """What one request may ask for; more is refused before any work is done on it."""

    message_bytes: int = Field(default=16 << 20, ge=1024, le=1 << 30)
    """Largest gRPC message that is received, in bytes."""
    pixels: int = Field(default=25_000_000, ge=1)
    """Most pixels of one image, read from its header before it is decoded."""
    stream_requests: int = Field(default=32, ge=1)
    """Most requests of one stream in hand; the next is read when the reader has taken an answer."""
    in_flight: int | None = Field(default=None, ge=1)
    """Most requests and open streams in hand; further ones are refused at once."""
    requests_per_second: float | None = Field(default=None, gt=0)
    """Of one client: the bearer of a token, else an address. In a stream each message counts."""
    burst: int = Field(default=20, ge=1)
    """How many requests a client that was silent may send at once, where their rate is limited."""


class Streams(Settings):
    """How streams of frames are watched, and what is kept of them."""

    streams: int = Field(default=256, ge=1)
    """Most streams that are known at once. Of those without a connection the longest gone gives way
    to a further one; where all are connected, it is refused."""
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


class Reload(Settings):
    """How a bundle that was replaced on the disk comes into use; SIGHUP always does it."""

    poll: float = Field(default=0.0, ge=0)
    """Seconds between two looks at the bundles' folders; 0 never looks."""
    api: bool = True
    """Whether clients may load and unload models (RepositoryModelLoad, RepositoryModelUnload)."""


class ModelSettings(Settings):
    """One of several models; what is not set is as the server's own settings say."""

    bundle: Path
    """The folder of its guard bundle."""
    public_key: Path | None = None
    """A PEM file, the key that must have signed the bundle."""
    precision: str | None = None
    """Which of the bundle's graphs is run."""
    threads: int | None = Field(default=None, ge=0)
    """Threads of one run; 0 takes one for each CPU core."""
    batching: Batching | None = None
    instances: Instances | None = None


class ServeSettings(Settings):
    """The settings of `cornerguard serve`, which are read once, at the start.

    What follows its files while the server runs is bundles (see `reload`), tokens, certificates.
    """

    host: str = "127.0.0.1"
    """Address that is listened on; connections are encrypted only where `tls` is set."""
    grpc_port: int = Field(default=8001, ge=0, le=65535)
    """Port of the gRPC services; 0 takes a free one."""
    http_port: int = Field(default=8002, ge=0, le=65535)
    """Port of `/metrics`, `/livez` and `/readyz`; 0 takes a free one. No tokens are asked for."""
    probe_port: int | None = Field(default=None, ge=0, le=65535)
    """A port for `grpc.health.v1.Health` alone, never encrypted: Kubernetes probes speak no TLS."""
    name: str | None = Field(default=None, min_length=1)
    """What clients call the bundle of the command line; by default the name of its folder."""
    models: Mapping[Annotated[str, StringConstraints(min_length=1)], ModelSettings] = Field({})
    """More models, by the name that clients call them."""
    public_key: Path | None = None
    """A PEM file, the key that must have signed the bundle; none takes one without a signature."""
    precision: str = "float32"
    """Which of the bundle's graphs is run; each has its own calibrated threshold."""
    threads: int = Field(default=0, ge=0)
    """Threads of one run of the model; 0 divides the CPU cores among the instances."""
    decode_threads: int = Field(default=2, ge=1)
    """Threads that decode JPEG and PNG files, those of all models; `batching.queue` and
    `batching.queue_bytes` bound how many files and how many bytes of pixels are in hand there."""
    limits: Limits = Limits()
    batching: Batching = Batching()
    instances: Instances = Instances()
    streams: Streams = Streams()
    shutdown: Shutdown = Shutdown()
    reload: Reload = Reload()
    tls: Tls = Tls()
    tokens: Tokens = Tokens()
    connections: Connections = Connections()
    logs: Logs = Logs()
    tracing: Tracing = Tracing()

    def of_model(self, model: ModelSettings) -> "ServeSettings":
        """Return the settings that one model is served with."""
        own = {key: value for key, value in model if value is not None and key != "bundle"}
        return self.model_copy(update=own)
