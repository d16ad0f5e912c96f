"""How streams by both clients end: failing sources, refusals, take-over, iterators left early."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from guard.client import AsyncGuardClient, Frame, GuardClient, StreamOptions, Watched
from guard.errors import BadInput, CornerguardError
from guard.serving.arrivals import Counts
from tests.integration.serving.clients import CLIENTS, Threaded
from tests.integration.serving.running import PATIENCE, Running
from tests.integration.serving.sources import Lockstep, frame, steady

client_kinds = pytest.mark.parametrize("client", CLIENTS)


@client_kinds
@pytest.mark.parametrize("bad", [np.zeros((3, 8, 8)), Path("none.png")], ids=["array", "file"])
def test_a_frame_that_cannot_be_sent_ends_the_stream_by_its_error(
    client: type[Threaded], server: Running, bad: object
) -> None:
    answers: list[Watched] = []
    frames = Lockstep(frame(1), frame(2), Frame(3, 3.0, bad))  # type: ignore[arg-type]

    def seen(watched: Watched) -> None:
        answers.append(watched)
        frames.seen(watched)

    with pytest.raises(BadInput, match=r"type float64; allowed|none\.png: cannot be read"):
        client(server.grpc).watch(frames, StreamOptions("unsent", restart=True), seen=seen)
    assert [answer.sequence for answer in answers] == [1, 2]


@client_kinds
def test_what_a_source_raises_is_raised(client: type[Threaded], server: Running) -> None:
    def camera() -> Iterator[Frame]:
        yield frame(1)
        raise OSError("the camera is unplugged")

    with pytest.raises(OSError, match="unplugged"):
        client(server.grpc).watch(camera(), StreamOptions("unplugged", restart=True))


@client_kinds
def test_refusals_are_one_line(client: type[Threaded], server: Running) -> None:
    with pytest.raises(BadInput, match="raise_votes 6, window 5"):
        client(server.grpc).watch([], StreamOptions("x", raise_votes=6))
    with pytest.raises(BadInput, match="no model 'tinny'"):
        client(server.grpc, "tinny").watch([], StreamOptions("x"))
    with pytest.raises(CornerguardError, match=r"127\.0\.0\.1:1: UNAVAILABLE") as caught:
        client("127.0.0.1:1").watch([], StreamOptions("x"), timeout=2.0)
    assert "\n" not in str(caught.value)


@client_kinds
def test_a_stream_that_was_taken_over_is_not_taken_back(
    client: type[Threaded], server: Running
) -> None:
    """Two clients of one id would else fight for it for ever."""
    options = StreamOptions(f"shared {client.__name__}", restart=True)
    ended: list[str] = []
    begun = threading.Event()

    def watch() -> None:
        try:
            client(server.grpc).watch(steady(10_000), options, seen=lambda watched: begun.set())
        except CornerguardError as error:
            ended.append(str(error))

    watching = threading.Thread(target=watch)
    watching.start()
    assert begun.wait(PATIENCE)
    (last,) = client(server.grpc).watch([], options)
    watching.join(PATIENCE)
    assert last.counts == Counts()
    assert len(ended) == 1
    assert "ABORTED" in ended[0]


def test_an_async_iterator_that_is_closed_leaves_nothing_connected(server: Running) -> None:
    async def camera() -> AsyncIterator[Frame]:
        for sequence in range(10_000):
            yield frame(sequence)
            await asyncio.sleep(0.01)

    async def leave() -> None:
        options = StreamOptions("closed", restart=True)
        async with AsyncGuardClient(server.grpc) as client:
            async with aclosing(client.watch(camera(), options)) as answers:
                async for watched in answers:
                    assert watched.verdict is not None
                    break
            deadline = time.monotonic() + PATIENCE
            while server.metrics()["cornerguard_streams"]:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)

    asyncio.run(leave())


def test_an_iterator_that_is_left_leaves_nothing_connected(server: Running) -> None:
    with GuardClient(server.grpc) as client:
        for watched in client.watch(steady(10_000), StreamOptions("left", restart=True)):
            assert watched.verdict is not None
            break
        deadline = time.monotonic() + PATIENCE
        while server.metrics()["cornerguard_streams"]:
            assert time.monotonic() < deadline
