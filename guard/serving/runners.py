"""Between what gives batches and what runs them: each batch is given once, and comes back once."""

from typing import Protocol, runtime_checkable

from guard.serving.batches import Batch
from guard.serving.verdict import Judged

__all__ = ["Owner", "Runner"]


@runtime_checkable
class Runner(Protocol):
    """What runs batches, in the order in which they are given, and gives each back once."""

    @property
    def room(self) -> int:
        """How many batches it would take now."""

    @property
    def idle(self) -> bool:
        """Whether it runs nothing, and would take a batch."""

    @property
    def alive(self) -> bool:
        """Whether it takes batches at all."""

    def run(self, batch: Batch) -> None:
        """Take a batch; there must be room."""


@runtime_checkable
class Owner(Protocol):
    """Whoever gives an instance its batches, and gets each back once, by one of these."""

    def done(self, batch: Batch, judged: Judged) -> None:
        """The batch was judged."""

    def failed(self, batch: Batch, reason: str) -> None:
        """The run raised."""

    def killed(self, batch: Batch, reason: str) -> None:
        """The worker ended while it ran the batch."""

    def returned(self, batch: Batch) -> None:
        """The batch was not run: a deadline had passed, or the worker ended before."""

    def changed(self) -> None:
        """There may be room for a batch, or none lives any more."""
