"""Servers under measurement, each a process tree of its own: cornerguard's, and MLServer."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

from guard.errors import CornerguardError
from tests.benchmarks.process_tree import ProcessTree
from tests.benchmarks.served_models import ServedModel

__all__ = ["Server", "cornerguard", "mlserver", "mlserver_environment"]

PATIENCE = 120.0
MLSERVER = ("mlserver==1.7.1", "onnxruntime", "uvloop<0.22")
"""With a newer uvloop its worker processes do not start."""
REPORTED = ("mlserver", "onnxruntime", "grpcio", "uvloop")
BATCHING = {"max_batch_size": 32, "max_batch_time": 0.005}


class Server(NamedTuple):
    """A server that answers.

    Attributes:
        target: the address of its gRPC port.
        metrics: the URL of its Prometheus page.
        start_up: seconds from the start of the process until it said that it was ready.
    """

    process: "subprocess.Popen[str]"
    target: str
    metrics: str
    start_up: float

    @property
    def tree(self) -> ProcessTree:
        """The process and its workers."""
        return ProcessTree(self.process.pid)

    def counted(self, name: str) -> float:
        """Return the sum of a metric over its labels; 0 where there is none."""
        with urlopen(self.metrics, timeout=PATIENCE) as page:
            text = page.read().decode()
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
        return sum(map(float, found))


@contextmanager
def cornerguard(
    bundle: Path, config: Path | None, log: int | IO[str] | None = None
) -> Iterator[Server]:
    """Serve a bundle on free ports until the block ends; `log` takes its standard error.

    Raises:
        CornerguardError: it ended before it was ready.
    """
    command = [sys.executable, "-m", "guard", "serve", str(bundle), "--grpc-port", "0"]
    command += ["--http-port", "0", *(() if config is None else ("--config", str(config)))]
    begin = time.perf_counter()
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    with _ended(started) as process:
        assert process.stdout
        line = process.stdout.readline()
        if not line:
            raise CornerguardError(f"{' '.join(command)}: ended before it was ready")
        said = json.loads(line)
        start_up = time.perf_counter() - begin
        yield Server(process, said["grpc"], f"http://{said['http']}/metrics", start_up)


@contextmanager
def mlserver(
    model: ServedModel, environment: Path, threads: int, workers: int, folder: Path
) -> Iterator[Server]:
    """Serve the same graph by MLServer, adaptive batching on, until the block ends.

    Args:
        model: what is served.
        environment: see `mlserver_environment`.
        threads: of ONNX Runtime.
        workers: processes that infer; 0 infers in the server's own.
        folder: an empty one, for MLServer's settings.
    """
    grpc_port, http_port, metrics_port = _free_ports(3)
    _write(
        folder / "settings.json",
        host="127.0.0.1",
        grpc_port=grpc_port,
        http_port=http_port,
        metrics_port=metrics_port,
        parallel_workers=workers,
        debug=False,
        environments_dir=str(folder / "environments"),
        metrics_dir=str(folder),
    )
    _write(
        folder / "model-settings.json",
        name=model.name,
        implementation="mlserver_runtime.GuardedGraph",
        parameters={"uri": str(model.graph.resolve()), "extra": {"threads": threads}},
        **BATCHING,
    )
    shutil.copy(Path(__file__).with_name("mlserver_runtime.py"), folder)
    command = [str(environment.resolve() / "bin/mlserver"), "start", "."]
    begin = time.perf_counter()
    with (folder / "log").open("w") as log:
        started = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, text=True)
    with _ended(started) as process:
        ready = f"http://127.0.0.1:{http_port}/v2/models/{model.name}/ready"
        while not _answers(ready):
            if process.poll() is not None or time.perf_counter() > begin + PATIENCE:
                last = (folder / "log").read_text()[-2000:]
                raise CornerguardError(f"MLServer does not get ready: {last}")
            time.sleep(0.02)
        target, page = f"127.0.0.1:{grpc_port}", f"http://127.0.0.1:{metrics_port}/metrics"
        yield Server(process, target, page, time.perf_counter() - begin)


def mlserver_environment(folder: Path) -> dict[str, str]:
    """Install MLServer into a virtual environment of its own, unless there; return the versions."""
    python = folder / "bin/python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", *MLSERVER]
        subprocess.run(install, check=True)
    code = (
        "import json, sys, importlib.metadata as m;"
        "print(json.dumps({name: m.version(name) for name in sys.argv[1:]}))"
    )
    asked = subprocess.run(
        [str(python), "-c", code, *REPORTED], check=True, capture_output=True, text=True
    )
    versions: dict[str, str] = json.loads(asked.stdout)
    return versions


@contextmanager
def _ended(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    tree = ProcessTree(process.pid)
    with process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE / 4)
            except subprocess.TimeoutExpired:
                for each in (*tree.descendants(), process.pid):
                    os.kill(each, 9)


def _free_ports(count: int) -> list[int]:
    """Return ports that are free now; held together, so that no two are the same."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=1) as page:
            return bool(page.status == 200)
    except (URLError, OSError):
        return False


def _write(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps(settings))
