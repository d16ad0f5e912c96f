"""Decoding under limits: headers are read before any pixel is, and what was taken is given back."""

import asyncio
import io
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from PIL import Image

from guard.errors import BadInput
from guard.serving.decoding import Decoders
from guard.serving.images import ImageSpec
from guard.serving.model_settings import Batching
from guard.serving.rejections import Overloaded

ANY_SIZE = ImageSpec(3, None, None, max_pixels=25_000_000)
SMALL = ImageSpec(3, 8, 8, max_pixels=25_000_000)
LIMITS = Batching(queue=4, max_batch=4, queue_bytes=1 << 20)
Case = Callable[[Decoders], Awaitable[None]]


def png(side: int, level: int = 51) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (level,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def cut(side: int) -> bytes:
    """Return a file whose header is whole, and whose pixels do not decode."""
    data = png(side)
    return data[: data.index(b"IDAT") + 8]


def with_decoders(case: Case) -> None:
    async def run() -> None:
        decoders = Decoders(1, LIMITS)
        try:
            await case(decoders)
            # Whatever happened, all the room is there again.
            assert (await decoders.decode([png(8)] * 4, SMALL, "images")).shape == (4, 3, 8, 8)
            most = await decoders.decode([png(295)], ANY_SIZE, "image")
            assert most.nbytes > 0.99 * LIMITS.queue_bytes
        finally:
            decoders.close()

    asyncio.run(run())


def test_images_come_back_in_their_order() -> None:
    async def case(decoders: Decoders) -> None:
        images = await decoders.decode([png(8, 51), png(16, 102)], SMALL, "images")
        np.testing.assert_allclose(images[:, 0, 0, 0], [0.2, 0.4], atol=1e-6)

    with_decoders(case)


@pytest.mark.parametrize("files", [[cut(300)], [cut(160), cut(160), cut(160)]])
def test_what_is_too_large_together_is_refused_by_its_headers(files: list[bytes]) -> None:
    """The same files made small are refused otherwise: for their pixels."""

    async def case(decoders: Decoders) -> None:
        with pytest.raises(BadInput, match=r"^image: decoding takes \d+ bytes; at most 1048576"):
            await decoders.decode(files, ANY_SIZE, "image")
        with pytest.raises(BadInput, match=r"image\[0\]: cannot be decoded"):
            await decoders.decode(files, SMALL, "image")

    with_decoders(case)


def test_what_is_too_large_beside_others_is_overload() -> None:
    async def case(decoders: Decoders) -> None:
        first, second = await asyncio.gather(
            *(decoders.decode([png(280)], ANY_SIZE, "image") for _ in range(2)),
            return_exceptions=True,
        )
        assert isinstance(first, np.ndarray)
        assert isinstance(second, Overloaded)
        assert str(second) == "940800 of at most 1048576 bytes of images are being decoded"

    with_decoders(case)


def test_too_many_at_once_are_overload() -> None:
    async def case(decoders: Decoders) -> None:
        first = asyncio.ensure_future(decoders.decode([png(8)] * 3, SMALL, "image"))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="3 of at most 4 images wait to be decoded"):
            await decoders.decode([png(8)] * 2, SMALL, "image")
        assert len(await first) == 3

    with_decoders(case)


def test_images_of_one_request_are_alike() -> None:
    async def case(decoders: Decoders) -> None:
        with pytest.raises(BadInput, match=r"^image: sizes 8×8, 9×9; images of one request"):
            await decoders.decode([png(9), png(8)], ANY_SIZE, "image")

    with_decoders(case)


@pytest.mark.parametrize("turns", [1, 5, 50])
def test_a_caller_that_goes_away_gives_its_room_back(turns: int) -> None:
    async def case(decoders: Decoders) -> None:
        gone = asyncio.ensure_future(decoders.decode([png(140)] * 2, ANY_SIZE, "image"))
        for _ in range(turns):
            await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)

    with_decoders(case)
