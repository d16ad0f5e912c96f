"""Latency of a guarded file over that of the bare one: interleaved pairs of runs."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

__all__ = ["PROVIDERS", "THREADS", "Run", "compare", "onnx_run"]

THREADS = 2
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

Run = Callable[[], Any]
"""Answers for one batch, the same each time."""


def compare(bare: Run, guarded: Run, pairs: int) -> dict[str, Any]:
    """Run both after a warm-up, one after the other, in `pairs` (2 or more) of alternating order.

    `ratio` is the median of guarded over bare, `quartiles` its spread; `ratio_of_fastest`, of the
    fastest run of each, is what remains where the machine is busy.
    """
    for _ in range(max(3, pairs // 10)):
        bare(), guarded()
    seconds: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs):
        for at in (0, 1) if pair % 2 else (1, 0):
            start = time.perf_counter()
            (bare, guarded)[at]()
            seconds[at].append(time.perf_counter() - start)
    ratios = [slow / fast for fast, slow in zip(*seconds, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4)
    return {
        "ratio": round(statistics.median(ratios), 4),
        "quartiles": [round(quartiles[0], 4), round(quartiles[2], 4)],
        "ratio_of_fastest": round(min(seconds[1]) / min(seconds[0]), 4),
        "bare_ms": round(1e3 * statistics.median(seconds[0]), 3),
    }


def onnx_run(path: Path, images: np.ndarray, provider: str = "cpu") -> Run:
    """Load a graph into ONNX Runtime, with two threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    # The threads of one session must not spin on while the other one is timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=[PROVIDERS[provider]])
    return lambda: session.run(None, {"images": images})
