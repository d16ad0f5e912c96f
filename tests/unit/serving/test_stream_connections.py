"""Streams by their ids, without gRPC: what waits, who is connected, what is forgotten when."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from guard.errors import BadInput
from guard.serving.arrivals import STALE
from guard.serving.config import Streams
from guard.serving.metrics import Metrics
from guard.serving.protocol import guard_pb2 as pb
from guard.serving.rejections import Overloaded, Silent, Superseded
from guard.serving.stream_connections import Connections
from guard.serving.streams import StreamSettings

VALID = pb.CheckResponse(verdict=pb.VALID)


def settings(stream: str = "front", **more: int) -> StreamSettings:
    return StreamSettings.of(pb.WatchSettings(stream=stream, **more))


def frame(sequence: int) -> pb.Frame:
    return pb.Frame(sequence=sequence, capture_us=sequence)


def connected(test: Callable[[Connections, Metrics], Awaitable[None]], **limits: float) -> None:
    """Run a test in a loop of its own."""

    async def run() -> None:
        metrics = Metrics()
        await test(Connections(Streams(**limits), metrics), metrics)

    asyncio.run(run())


def fates(metrics: Metrics) -> dict[str, float]:
    (family,) = metrics.frames.collect()
    return {
        sample.labels["fate"]: sample.value
        for sample in family.samples
        if sample.name.endswith("_total")
    }


def test_the_oldest_waiting_frame_gives_way() -> None:
    async def test(connections: Connections, metrics: Metrics) -> None:
        with connections.connect(settings(), restart=False) as connection:
            for sequence in range(10):
                connection.offer(frame(sequence))
            counts = connection.stream.counts
            assert (counts.dropped, counts.waiting) == (7, 3)
            connection.no_more()
            taken = []
            while (each := await connection.take()) is not None:
                taken.append(each.sequence)
                connection.judged(each, VALID)
            assert taken == [7, 8, 9]
            assert (counts.judged, counts.dropped, counts.waiting) == (3, 7, 0)
        assert fates(metrics) == {"sampled": 10, "dropped": 7}

    connected(test, waiting=3)


def test_a_judge_that_waits_gets_the_next_frame() -> None:
    async def test(connections: Connections, metrics: Metrics) -> None:
        with connections.connect(settings(), restart=False) as connection:
            taking = asyncio.ensure_future(connection.take())
            await asyncio.sleep(0)
            connection.offer(frame(1))
            taken = await taking
            assert taken is not None
            assert taken.sequence == 1

    connected(test)


def test_who_was_superseded_has_no_vote() -> None:
    async def test(connections: Connections, metrics: Metrics) -> None:
        with connections.connect(settings(), restart=False) as old:
            old.offer(frame(1))
            old.offer(frame(2))
            in_hand = await old.take()
            assert in_hand is not None
            with connections.connect(settings(), restart=False) as new:
                assert new.resumed
                assert new.stream is old.stream
                assert isinstance(old.ended.result(), Superseded)
                with pytest.raises(Superseded, match="taken over by a new connection"):
                    old.judged(in_hand, VALID)
                old.offer(frame(3))
                new.offer(frame(4))
                each = await new.take()
                assert each is not None
                counts = new.judged(each, VALID).counts
                assert counts == pb.FrameCounts(judged=1, dropped=2, lost=1)

    connected(test)


def test_a_restart_begins_anew_beside_the_old_connection() -> None:
    async def test(connections: Connections, metrics: Metrics) -> None:
        with connections.connect(settings(), restart=False) as old:
            old.offer(frame(1))
            with pytest.raises(BadInput, match="known with other settings; restart it"):
                connections.connect(settings(window=3), restart=False).__enter__()
            assert not old.ended.done()
            with connections.connect(settings(window=3), restart=True) as new:
                assert not new.resumed
                assert old.ended.done()
                assert new.stream.summary().counts == pb.FrameCounts()
        with connections.connect(settings(window=3), restart=False) as again:
            assert again.resumed
            assert again.stream is new.stream

    connected(test)


def test_streams_are_bounded_and_the_longest_gone_gives_way() -> None:
    async def test(connections: Connections, metrics: Metrics) -> None:
        for name in ("one", "two"):
            with connections.connect(settings(name), restart=False):
                pass
        with (
            connections.connect(settings("three"), restart=False),
            connections.connect(settings("two"), restart=False) as two,
        ):
            assert two.resumed  # it was "one" that was forgotten
            with pytest.raises(Overloaded, match="2 streams are connected, the most allowed"):
                connections.connect(settings("four"), restart=False).__enter__()
        with connections.connect(settings("one"), restart=False) as one:
            assert not one.resumed
        assert metrics.streams.collect()[0].samples[0].value == 0

    connected(test, streams=2)


def test_streams_without_connection_are_forgotten() -> None:
    async def test(connections: Connections, metrics: Metrics) -> None:
        with connections.connect(settings("one"), restart=False):
            pass
        await asyncio.sleep(0.1)
        with connections.connect(settings("one"), restart=False) as one:
            assert not one.resumed

    connected(test, idle=0.05)


def test_a_client_that_comes_back_in_time_starts_the_clock_anew() -> None:
    async def test(connections: Connections, metrics: Metrics) -> None:
        for resumed in (False, True, True):  # 1.2 seconds in all
            with connections.connect(settings(), restart=False) as connection:
                assert connection.resumed == resumed
            await asyncio.sleep(0.6)

    connected(test, idle=1.0)


def test_silence_ends_a_connection_and_frames_keep_it() -> None:
    async def test(connections: Connections, metrics: Metrics) -> None:
        loop = asyncio.get_running_loop()
        with connections.connect(settings(), restart=False) as connection:
            start = loop.time()
            for sequence in range(6):
                await asyncio.sleep(0.2)
                connection.offer(frame(sequence))
            why = await asyncio.wait_for(asyncio.shield(connection.ended), 30)
            assert loop.time() - start >= 6 * 0.2 + 1.0
        assert isinstance(why, Silent)
        assert str(why) == "no frame came for 1 seconds"

    connected(test, idle=1.0)


def test_frames_that_are_all_repeated_end_the_connection() -> None:
    async def test(connections: Connections, metrics: Metrics) -> None:
        with connections.connect(settings(), restart=False) as connection:
            for _ in range(STALE):  # the first of them is new
                connection.offer(frame(1))
            with pytest.raises(BadInput, match=f"{STALE} late or repeated frames in a row"):
                connection.offer(frame(1))

    connected(test)
