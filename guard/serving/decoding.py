"""Encoded images, decoded beside the event loop by a bounded number of threads."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from guard.errors import BadInput
from guard.serving.images import ImageSpec, decode_image
from guard.serving.rejections import Overloaded

__all__ = ["Decoders"]


class Decoders:
    """Threads that decode JPEG and PNG files; at most `queue` images are in hand or wait."""

    def __init__(self, threads: int, queue: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decoder")
        self._queue, self._images = queue, 0

    async def decode(
        self, files: Sequence[bytes], spec: ImageSpec, where: str
    ) -> NDArray[np.float32]:
        """Decode files of one size into `[batch, channel, height, width]`.

        Raises:
            BadInput: a file does not decode or is not allowed, or the sizes differ.
            Overloaded: too many images wait.
        """
        if self._images + len(files) > self._queue:
            raise Overloaded(f"{self._images} of at most {self._queue} images wait to be decoded")
        self._images += len(files)
        loop = asyncio.get_running_loop()
        try:
            images = [
                loop.run_in_executor(self._pool, decode_image, file, spec, f"{where}[{index}]")
                for index, file in enumerate(files)
            ]
            decoded = await asyncio.gather(*images)
        finally:
            self._images -= len(files)
        if len(decoded) == 1:
            return decoded[0][np.newaxis]
        sizes = sorted({f"{image.shape[2]}×{image.shape[1]}" for image in decoded})
        if len(sizes) > 1:
            raise BadInput(
                f"{where}: sizes {', '.join(sizes)}; images of one request must be alike"
            )
        return np.stack(decoded)

    def close(self) -> None:
        """Return when the last image is decoded."""
        self._pool.shutdown()
