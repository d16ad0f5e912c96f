"""What a worker is told when it is started: the graph, the shared files, and how to run."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from guard.serving.graph import Graph

if TYPE_CHECKING:  # the server writes orders, and never loads ONNX Runtime
    from guard.serving.providers import Accelerator

__all__ = ["Order"]


@dataclass(frozen=True)
class Order:
    """A worker's task; descriptors are those of the process that it is read in.

    Attributes:
        socket: where it is asked and answers.
        slots: shared files.
        graph: what to load.
        max_batch: the largest batch.
        threads, accelerator: as the engine takes them.
        cpu_fallback: whether the CPU will do where the accelerator cannot be used.
        log_level: the least that is logged.
    """

    socket: int
    slots: tuple[int, ...]
    graph: Graph
    max_batch: int
    threads: int
    accelerator: "Accelerator"
    cpu_fallback: bool
    log_level: str

    @property
    def files(self) -> tuple[int, ...]:
        """Every descriptor that the worker inherits."""
        return self.socket, *self.slots, *self.graph.files.values()

    def write(self) -> str:
        """Return the order as `parse` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> "Order":
        """Read what `write` wrote."""
        values: dict[str, Any] = json.loads(text)
        values["graph"]["image"] = tuple(values["graph"]["image"])
        return cls(**values | {"graph": Graph(**values["graph"]), "slots": tuple(values["slots"])})
