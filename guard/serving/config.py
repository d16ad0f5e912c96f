"""What an operator can set: addresses, limits, batching, and how the server stops."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from guard.serving.model_settings import Batching, Instances
from guard.settings import Settings

__all__ = [
    "Batching",
    "Instances",
    "Limits",
    "ModelSettings",
    "Reload",
    "ServeSettings",
    "Shutdown",
]


class Limits(Settings):
    """What one request may ask for; more is refused before any work is done on it."""

    message_bytes: int = Field(default=16 << 20, ge=1024, le=1 << 30)
    """Largest gRPC message that is received, in bytes."""
    pixels: int = Field(default=25_000_000, ge=1)
    """Most pixels of one image, read from its header before it is decoded."""
    stream_requests: int = Field(default=32, ge=1)
    """Most requests of one stream in hand; the next is read when the reader has taken an answer."""


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
    """The settings of `cornerguard serve`."""

    host: str = "127.0.0.1"
    """Address that is listened on; the connections are not encrypted."""
    grpc_port: int = Field(default=8001, ge=0, le=65535)
    """Port of the gRPC services; 0 takes a free one."""
    http_port: int = Field(default=8002, ge=0, le=65535)
    """Port of `/metrics`, `/livez` and `/readyz`; 0 takes a free one."""
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
    """Threads that decode JPEG and PNG files."""
    limits: Limits = Limits()
    batching: Batching = Batching()
    instances: Instances = Instances()
    shutdown: Shutdown = Shutdown()
    reload: Reload = Reload()

    def of_model(self, model: ModelSettings) -> "ServeSettings":
        """Return the settings that one model is served with."""
        own = {key: value for key, value in model if value is not None and key != "bundle"}
        return self.model_copy(update=own)
