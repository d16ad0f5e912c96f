"""What becomes of large buffers that were freed."""

import ctypes

__all__ = ["keep_freed_buffers"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt(3)`."""
KEPT, SHARED = 64 << 20, 32 << 20
"""Bytes that the heap keeps for the next message; the largest buffers that come out of it."""


def keep_freed_buffers() -> None:
    """Let the heap keep what a message took for the next one, where the C library is glibc's.

    By default it gives large buffers back to the system, which then hands them out again page by
    page: for an image of 600 kB a hundred page faults, a quarter of what receiving it costs.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_MMAP_THRESHOLD, SHARED)
