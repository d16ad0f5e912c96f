"""Where the frames of a client's stream come from."""

import threading
import time
from collections.abc import Iterator

from guard.client import Frame, Watched
from tests.integration.serving.running import PATIENCE
from tests.unit.serving.tiny_bundle import image_of

__all__ = ["Lockstep", "frame", "steady"]


def frame(sequence: int, level: float = 0.5) -> Frame:
    return Frame(sequence, float(sequence), image_of(level))


def steady(count: int, pause: float = 0.01) -> Iterator[Frame]:
    for sequence in range(count):
        yield frame(sequence)
        time.sleep(pause)


class Lockstep:
    """Gives a frame when the one before is answered, so that none gives way to a younger one."""

    def __init__(self, *frames: Frame) -> None:
        self._frames, self._answered = frames, threading.Semaphore(1)

    def __iter__(self) -> Iterator[Frame]:
        for each in self._frames:
            assert self._answered.acquire(timeout=PATIENCE)
            yield each

    def seen(self, watched: Watched) -> None:
        self._answered.release()
