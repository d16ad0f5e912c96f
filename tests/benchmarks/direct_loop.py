"""What inference alone costs: one ONNX Runtime session in a loop, in a process of its own.

    python -m tests.benchmarks.direct_loop GRAPH IMAGES --batch 1 --threads 2 --seconds 5

IMAGES is an array of float32 `[count, channel, height, width]` (`.npy`). The session is opened as
the server opens its own: so many threads, which sleep between two runs. The last line is one JSON
object.
"""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime
import typer

__all__ = ["session"]


def main(
    graph: Path,
    images: Path,
    batch: Annotated[int, typer.Option(min=1)] = 1,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    seconds: float = 5.0,
) -> None:
    """Run batch after batch, and print what an image costs in CPU time and a run in latency."""
    run = session(graph, threads).run
    array = np.load(images)
    batches = [{"images": array[at : at + batch]} for at in range(0, len(array) - batch + 1, batch)]
    for inputs in batches[:5]:
        run(None, inputs)
    latencies: list[float] = []
    cpu, begin = time.process_time(), time.perf_counter()
    while time.perf_counter() < begin + seconds:
        start = time.perf_counter()
        run(None, batches[len(latencies) % len(batches)])
        latencies.append(time.perf_counter() - start)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - begin
    count = batch * len(latencies)
    p50, p99 = np.quantile(latencies, [0.5, 0.99]) * 1e3
    figures = {"cpu_ms": 1e3 * cpu / count, "images_per_s": count / wall, "p50": p50, "p99": p99}
    print(json.dumps({"batch": batch, **figures}))


def session(graph: Path, threads: int) -> Any:
    """Open an ONNX file on the CPU, with threads that do not spin."""
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    typer.run(main)
