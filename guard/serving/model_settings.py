"""What an operator can set of how models are run: batches, queues, and worker processes."""

from typing import Literal

from pydantic import Field, model_validator

from guard.settings import Settings

__all__ = ["Batching", "Instances"]


class Batching(Settings):
    """How requests share runs of the model, and how many may wait."""

    max_batch: int = Field(default=32, ge=1, le=4096)
    """Most images of one run, and of one request."""
    batch_bytes: int = Field(default=64 << 20, ge=1 << 20)
    """Most bytes of one run's images as float32; a request that needs more runs alone."""
    preferred: tuple[int, ...] = ()
    """Sizes of runs that suit the model: the largest that can be filled is taken."""
    delay: float = Field(default=0.0, ge=0, le=60)
    """Seconds that an idle model waits for company for a request; 0 lets none wait."""
    queue: int = Field(default=256, ge=1)
    """Most images that wait; further requests are refused at once."""
    queue_bytes: int = Field(default=512 << 20, ge=1 << 20)
    """Most bytes of the images that wait, as they were sent or decoded."""
    patience: float = Field(default=1.0, ge=0)
    """Seconds after which a request that waits goes before those of a higher priority."""

    @model_validator(mode="after")
    def _check_preferred(self) -> "Batching":
        for size in self.preferred:
            if not 1 <= size <= self.max_batch:
                raise ValueError(f"preferred: {size}; 1 to max_batch, {self.max_batch}, is allowed")
        return self


class Instances(Settings):
    """The worker processes of a model, each with one ONNX Runtime session."""

    count: int = Field(default=1, ge=1, le=256)
    """Workers of each model; requests go to whichever is free."""
    accelerator: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    """`auto` is CUDA where an NVIDIA driver answers when the server starts, else the CPU."""
    cpu_fallback: bool = False
    """Run on the CPU while the accelerator cannot be used; else the model is not ready then."""
    start_seconds: float = Field(default=120.0, gt=0)
    """How long a worker may take to be ready; then it is ended, and started again."""
    run_seconds: float = Field(default=60.0, gt=0)
    """How long one run may take; then the worker is ended, and started again."""
    niceness: int = Field(default=10, ge=0, le=19)
    """How far workers stand back where processors are short. The server itself must go first: it
    can refuse what is too much only while it runs. Containers share processors apart from this."""
    outage_seconds: float = Field(default=10.0, ge=0)
    """How long requests wait for a worker when none lives; then they are refused as unavailable."""
