"""The load generator as a process that is told what to do, and the direct loop; see `load`."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from guard.errors import CornerguardError
from tests.benchmarks.served_models import ServedModel
from tests.benchmarks.servers import Server

__all__ = ["Generator", "direct", "generating"]

Figures = dict[str, Any]


class Generator(NamedTuple):
    """A generator that is connected to one server."""

    process: "subprocess.Popen[str]"
    server: Server

    def measure(self, **order: float) -> Figures:
        """Run one measurement; add what the server's processes used for each of its requests.

        Raises:
            CornerguardError: a request failed.
        """
        self._tell(order)
        self._hear()  # that it is warm
        batches, images, cpu = *self._batches(), self.server.tree.cpu_seconds()
        self._tell({})
        figures = self._hear()
        cpu = self.server.tree.cpu_seconds() - cpu
        if figures["errors"]:
            raise CornerguardError(f"{order}: requests failed: {figures['errors']}")
        after = self._batches()
        figures["cpu_ms"] = 1e3 * cpu / figures["requests"]
        if after[0] > batches:
            figures["mean_batch"] = (after[1] - images) / (after[0] - batches)
        return figures

    def _batches(self) -> tuple[float, float]:
        """Return how many batches were run and their images; 0 of another server's."""
        counted = self.server.counted
        return counted("cornerguard_batch_size_count"), counted("cornerguard_batch_size_sum")

    def _tell(self, order: Figures) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def _hear(self) -> Figures:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise CornerguardError("the load generator ended")
        heard: Figures = json.loads(line)
        return heard


@contextmanager
def generating(server: Server, model: ServedModel) -> Iterator[Generator]:
    """Start a generator for a server; it ends with the block."""
    command = [sys.executable, "-m", "tests.benchmarks.load", server.target, model.name]
    command.append(str(model.images))
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Generator(process, server)


def direct(model: ServedModel, batch: int, threads: int, seconds: float) -> Figures:
    """Run the graph in a loop, in a process of its own; see `direct_loop`."""
    command = [sys.executable, "-m", "tests.benchmarks.direct_loop", str(model.graph)]
    command += [str(model.images), "--batch", str(batch), "--threads", str(threads)]
    command += ["--seconds", str(seconds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures
