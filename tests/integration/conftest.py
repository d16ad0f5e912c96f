"""A Ray cluster of two nodes, for the tests that take `cluster`."""

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import ray

SCRIPT = Path(__file__).with_name("ray_nodes.py")
TRIES = 3
MOST_SECONDS = 150
ENVIRONMENT = {
    # Ray's workers are very nice (15): beside other work on this machine they hardly run.
    "RAY_worker_niceness": "0",
    # Nor is half a minute always enough there for a head to start and say where it listens.
    "RAY_gcs_server_port_wait_time_s": "120",
    # Five calls that nobody takes tell that a node is gone; one that is only slow has more time.
    "RAY_health_check_period_ms": "500",
}


class RayNodes:
    """A process with two Ray nodes in it, of one core each.

    Raises:
        RuntimeError: they cannot be started; it tells what they said.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stderr = (folder / "stderr").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT, folder],
            env=os.environ | ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            text=True,
            start_new_session=True,
        )
        try:
            self.address = self._answer()
        except BaseException:
            self.stop()
            raise

    def kill(self) -> None:
        """Kill the second node and all that runs there; return when it is gone."""
        self.process.stdin.write("kill\n")
        self.process.stdin.flush()
        assert self._answer() == "killed"

    def stop(self) -> None:
        """End both nodes; nothing of them is left when this returns."""
        with suppress(subprocess.TimeoutExpired):
            self.process.communicate(timeout=60)  # closes stdin
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # the servers, where it died before them
        self.process.wait()
        self.stderr.close()

    def _answer(self) -> str:
        ready, _, _ = select.select([self.process.stdout], [], [], MOST_SECONDS)
        line = self.process.stdout.readline().strip() if ready else ""
        if not line:
            raise RuntimeError(f"Ray's nodes do not answer.\n{self._said()}")
        return line

    def _said(self) -> str:
        """Return the last lines of everything that Ray has written."""
        files = [self.folder / "stderr", *sorted(self.folder.glob("session_2*/logs/*.*"))]
        ends = {file.name: file.read_text(errors="replace").splitlines()[-20:] for file in files}
        return "\n".join(
            "\n".join([f"--- {name}", *lines]) for name, lines in ends.items() if lines
        )


@pytest.fixture
def cluster() -> Iterator[RayNodes]:
    """Two Ray nodes, to which this process is connected."""
    with ExitStack() as cleanup:
        for left in reversed(range(TRIES)):
            name = tempfile.mkdtemp(prefix="ray-")  # pytest's own are too long for a socket's name
            cleanup.callback(_remove, Path(name))
            try:
                nodes = RayNodes(Path(name))
                break
            except RuntimeError:
                if not left:
                    raise
        cleanup.callback(nodes.stop)
        cleanup.callback(ray.shutdown)
        ray.init(address=nodes.address, log_to_driver=False)
        yield nodes


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # a server that is ending may still write
