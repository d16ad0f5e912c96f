"""A server as a process of its own, found by the line that it prints when it is ready."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

PATIENCE = 60
SERVE = (sys.executable, "-m", "guard", "serve")
FREE_PORTS = ("--grpc-port", "0", "--http-port", "0")


class Running(NamedTuple):
    """A server that is ready, its addresses, and what else it printed."""

    process: "subprocess.Popen[str]"
    grpc: str
    http: str
    line: dict[str, Any]

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and the body of a page."""
        try:
            with urlopen(f"http://{self.http}{path}", timeout=PATIENCE) as page:
                return page.status, page.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metrics(self) -> dict[str, float]:
        """Return every sample of `/metrics` by its name and labels."""
        samples = (line.rsplit(" ", 1) for line in self.get("/metrics")[1].splitlines())
        return {name: float(value) for name, value in samples if not name.startswith("#")}


@contextmanager
def running(bundle: Path, *options: str, log: Path | None = None) -> Iterator[Running]:
    """Serve a bundle on free ports until the block ends; `log` is a file for what it logs."""
    command = [*SERVE, str(bundle), *FREE_PORTS, *options]
    with ExitStack() as stack:
        errors = stack.enter_context(log.open("w")) if log else None
        process = stack.enter_context(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        )
        try:
            assert process.stdout
            line = json.loads(process.stdout.readline())
            yield Running(process, line["grpc"], line["http"], line)
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)
