"""The most memory that a call takes beyond what was held before it."""

import ctypes
import os
import threading
from collections.abc import Callable

import torch

from tests.benchmarks.process_tree import ProcessTree

__all__ = ["peak_mb"]

PAUSE = 0.01  # seconds between two looks


def peak_mb(run: Callable[[], object]) -> float:
    """Return megabytes (10⁶): on a GPU of its allocator, otherwise of this process and its workers.

    The latter is looked at every hundredth of a second, so that a peak that is shorter may be lost.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    ctypes.CDLL(None).malloc_trim(0)  # what is kept for later, but free, would hide the peak
    tree, seen, done = ProcessTree(os.getpid()), [0], threading.Event()
    before = tree.memory_bytes()

    def look() -> None:
        while not done.wait(PAUSE):
            seen.append(tree.memory_bytes() - before)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        run()
    finally:
        done.set()
        watcher.join()
    return max(seen) / 1e6
