"""Streams by both clients: alarms, connections that are cut, sources that fail, early ends."""

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
from tests.integration.serving.relay import Relay
from tests.integration.serving.running import PATIENCE, Running, running
from tests.unit.serving.tiny_bundle import image_of

client_kinds = pytest.mark.parametrize("client", CLIENTS)


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


@client_kinds
def test_a_stream_raises_and_clears_the_alarm(client: type[Threaded], server: Running) -> None:
    levels = [0.5, 0.8, 1.0, 0.8, 0.5, 0.5, 0.5, 0.5]
    frames = Lockstep(*(frame(number, level) for number, level in enumerate(levels)))
    options = StreamOptions(f"alarm {client.__name__}", window=5, raise_votes=3, clear_votes=1)
    *answers, last = client(server.grpc).watch(frames, options, seen=frames.seen)
    assert [answer.sequence for answer in answers] == list(range(8))
    assert [answer.verdict.verdict[0] for answer in answers if answer.verdict] == list("VCUCVVVV")
    assert [answer.vote.verdict[0] for answer in answers] == list("VCCCCCVV")
    assert [answer.vote.change[0] for answer in answers] == list("UUURUUUC")
    assert [answer.vote.alarm for answer in answers] == [False] * 3 + [True] * 4 + [False]
    assert (last.verdict, last.raised, last.cleared) == (None, 1, 1)
    assert (last.counts, last.lost) == (Counts(judged=8), 0)


@client_kinds
def test_samples_by_the_interval(client: type[Threaded], server: Running) -> None:
    options = StreamOptions(f"interval {client.__name__}", interval=25.0, tolerance=0.0)
    frames = (Frame(number, float(number), b"junk") for number in range(1, 100))
    answers = client(server.grpc).watch(frames, options)
    assert answers[-1].counts.judged + answers[-1].counts.dropped == 4
    assert answers[-1].counts.skipped == 95
    reasons = [answer.verdict.reason for answer in answers if answer.verdict]
    assert all("neither a JPEG nor a PNG" in reason for reason in reasons)


@client_kinds
def test_a_connection_that_is_cut_is_opened_anew(client: type[Threaded], server: Running) -> None:
    """What was counted before the cut still counts: the stream went on where it was."""
    cut: list[int] = []
    with Relay(server.grpc) as relay:

        def seen(watched: Watched) -> None:
            if not cut and watched.counts.judged >= 10:
                cut.append(relay.cut())

        options = StreamOptions(f"cut {client.__name__}", restart=True)
        answers = client(relay.address).watch(steady(150), options, seen=seen)
    last = answers[-1]
    assert cut == [1]
    assert sum(vars(last.counts).values()) + last.lost == 150
    sequences = [answer.sequence for answer in answers[:-1]]
    assert sequences == sorted(set(sequences))
    assert sequences[-1] == 149
    assert last.counts.judged >= len(sequences) > 20


@client_kinds
def test_a_stream_outlives_its_server(client: type[Threaded], tiny_bundle: Path) -> None:
    """A new server knows nothing of the stream; it goes on from where it then is."""
    with running(tiny_bundle) as first:
        address, seen_first = first.grpc, threading.Event()
        answers: list[Watched] = []
        over = threading.Event()

        def frames() -> Iterator[Frame]:
            sequence = 0
            while not over.is_set():
                yield frame(sequence)
                sequence += 1
                time.sleep(0.02)

        def watch() -> None:
            def seen(watched: Watched) -> None:
                answers.append(watched)
                seen_first.set()

            options = StreamOptions("outlives")
            client(address).watch(frames(), options, seen=seen, timeout=float(PATIENCE))

        watching = threading.Thread(target=watch)
        watching.start()
        assert seen_first.wait(PATIENCE)
    before = len(answers)
    with running(tiny_bundle, "--grpc-port", address.rpartition(":")[2]):
        deadline = time.monotonic() + PATIENCE
        while len(answers) < before + 5:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        over.set()
        watching.join(PATIENCE)
    assert not watching.is_alive()
    assert answers[-1].verdict is None
    assert {answer.verdict.verdict for answer in answers if answer.verdict} == {"VALID"}


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
        client("127.0.0.1:1").watch([], StreamOptions("x"), timeout=0.5)
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
