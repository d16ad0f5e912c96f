"""What the guard costs in time: the guarded graph beside the bare model, run in turns."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import onnxruntime

__all__ = ["PROVIDERS", "THREADS", "Overhead", "Provider", "measure_overhead", "onnx_run"]

Provider = Literal["cpu", "cuda"]
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
THREADS = 2


class Overhead(NamedTuple):
    """How long the guarded graph takes, as a multiple of the bare one's time.

    Attributes:
        ratio: the median over the pairs.
        quartiles: its spread.
        ratio_of_fastest: of the fastest run of each; what remains where the machine is busy.
        bare_ms: the median of the bare graph, in milliseconds.
    """

    ratio: float
    quartiles: tuple[float, float]
    ratio_of_fastest: float
    bare_ms: float

    def to_json(self) -> dict[str, Any]:
        """Round the figures to the digits that mean something."""
        return {
            "ratio": round(self.ratio, 4),
            "quartiles": [round(quartile, 4) for quartile in self.quartiles],
            "ratio_of_fastest": round(self.ratio_of_fastest, 4),
            "bare_ms": round(self.bare_ms, 3),
        }


def measure_overhead(
    bare: Callable[[], object], guarded: Callable[[], object], pairs: int
) -> Overhead:
    """Time two runs, one after the other, in pairs of alternating order, after a warm-up.

    Args:
        bare, guarded: one run of each; its result is dropped.
        pairs: two or more.
    """
    runs = (bare, guarded)
    for _ in range(max(3, pairs // 10)):
        for run in runs:
            run()
    seconds: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs):
        for at in (0, 1) if pair % 2 else (1, 0):
            start = time.perf_counter()
            runs[at]()
            seconds[at].append(time.perf_counter() - start)
    ratios = [slow / fast for fast, slow in zip(*seconds, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4)
    return Overhead(
        statistics.median(ratios),
        (quartiles[0], quartiles[2]),
        min(seconds[1]) / min(seconds[0]),
        1e3 * statistics.median(seconds[0]),
    )


def onnx_run(path: Path, images: np.ndarray, provider: Provider = "cpu") -> Callable[[], object]:
    """Return one run of an ONNX file on `images` [batch, channel, height, width], to be timed."""
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    # The threads of one session must not spin on while the other one is timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=[PROVIDERS[provider]])
    return lambda: session.run(None, {"images": images})
