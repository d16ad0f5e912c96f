"""Encoded images, decoded beside the event loop by a bounded number of threads."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from guard.errors import BadInput
from guard.serving.images import Encoded, ImageSpec
from guard.serving.model_settings import Batching
from guard.serving.rejections import Overloaded

__all__ = ["Decoders"]

Done = TypeVar("Done")


class Decoders:
    """Threads that decode JPEG and PNG files.

    Args:
        threads: how many.
        limits: `queue` and `queue_bytes` also bound the images that are in hand or wait here.
    """

    def __init__(self, threads: int, limits: Batching) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decoder")
        self._limits = limits
        self._images = self._bytes = 0

    async def decode(
        self, files: Sequence[bytes], spec: ImageSpec, where: str
    ) -> NDArray[np.float32]:
        """Decode files of one size into `[batch, channel, height, width]`.

        Raises:
            BadInput: a file does not decode or is not allowed, the sizes differ, or all together
                are too large.
            Overloaded: too many images wait.
        """
        most = self._limits.queue
        if self._images + len(files) > most:
            raise Overloaded(f"{self._images} of at most {most} images wait to be decoded")
        self._images += len(files)
        try:
            # A small file may hold a huge image, so that headers are read before any is decoded.
            (opened,) = await self._all([lambda: _open(files, spec, where)])
            return await self._within_bytes(opened, where)
        finally:
            self._images -= len(files)

    def close(self) -> None:
        """Return when the last image is decoded."""
        self._pool.shutdown()

    async def _within_bytes(self, files: Sequence[Encoded], where: str) -> NDArray[np.float32]:
        # Several are decoded one by one, and then copied into one array.
        size = sum(file.nbytes for file in files) * (1 if len(files) == 1 else 2)
        most = self._limits.queue_bytes
        if size > most:
            raise BadInput(f"{where}: decoding takes {size} bytes; at most {most} are allowed")
        if self._bytes + size > most:
            raise Overloaded(f"{self._bytes} of at most {most} bytes of images are being decoded")
        self._bytes += size
        try:
            return _stacked(await self._all(file.decode for file in files), where)
        finally:
            self._bytes -= size

    async def _all(self, jobs: Iterable[Callable[[], Done]]) -> list[Done]:
        """Do them on the threads; when one fails or nobody waits, the others are not begun."""
        loop = asyncio.get_running_loop()
        running = [loop.run_in_executor(self._pool, job) for job in jobs]
        try:
            return await asyncio.gather(*running)
        finally:
            for future in running:
                future.cancel()


def _open(files: Sequence[bytes], spec: ImageSpec, where: str) -> list[Encoded]:
    return [Encoded(file, spec, f"{where}[{index}]") for index, file in enumerate(files)]


def _stacked(images: Sequence[NDArray[np.float32]], where: str) -> NDArray[np.float32]:
    if len(images) == 1:
        return images[0][np.newaxis]
    sizes = sorted({f"{image.shape[2]}×{image.shape[1]}" for image in images})
    if len(sizes) > 1:
        raise BadInput(f"{where}: sizes {', '.join(sizes)}; images of one request must be alike")
    return np.stack(images)
