"""Streams of frames against a server process, by the plain stub."""

import queue
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from guard.serving.protocol import guard_pb2 as pb
from guard.serving.protocol.guard_pb2_grpc import GuardServiceStub
from tests.integration.serving.running import PATIENCE, Running, running
from tests.unit.serving.tiny_bundle import image_of

VALID, CORNER_CASE, UNVERIFIED = 0.5, 0.8, 1.0
SECOND = 1_000_000
Status = grpc.StatusCode


def frame(sequence: int, level: float = VALID, capture_us: int | None = None) -> pb.Frame:
    tensor = pb.Tensor(datatype="FP32", shape=[3, 8, 8], data=image_of(level).tobytes())
    at = sequence * SECOND if capture_us is None else capture_us
    return pb.Frame(sequence=sequence, capture_us=at, tensor=tensor)


class Camera:
    """One connection: sends on demand, and reads on demand."""

    def __init__(self, channel: grpc.Channel, **settings: object) -> None:
        self._requests: queue.Queue[pb.WatchRequest | None] = queue.Queue()
        self._requests.put(pb.WatchRequest(settings=pb.WatchSettings(**settings)))
        requests = iter(self._requests.get, None)
        self.call = GuardServiceStub(channel).Watch(requests, timeout=PATIENCE)

    def send(self, *frames: pb.Frame) -> None:
        for each in frames:
            self._requests.put(pb.WatchRequest(frame=each))

    def ask(self, each: pb.Frame) -> pb.WatchResponse:
        self.send(each)
        return next(self.call)

    def finish(self) -> list[pb.WatchResponse]:
        """Close this side and return the answers that are left."""
        self._requests.put(None)
        return list(self.call)

    def end(self) -> tuple[grpc.StatusCode, str]:
        """Return the status with which the server ends the stream."""
        with pytest.raises(grpc.RpcError):
            list(self.call)
        self._requests.put(None)
        return self.call.code(), self.call.details()


@contextmanager
def camera(channel: grpc.Channel, **settings: object) -> Iterator[Camera]:
    made = Camera(channel, **settings)
    try:
        yield made
    finally:
        made.finish()


def received(counts: pb.FrameCounts) -> int:
    return sum(value for field, value in counts.ListFields() if field.name != "lost")


def test_frames_vote_and_move_the_alarm(channel: grpc.Channel) -> None:
    levels = [0.5, 0.8, 1.0, 0.8, 0.5, 0.5, 0.5, 0.5]
    watched = Camera(channel, stream="votes", interval_us=SECOND)
    opened = next(watched.call)
    assert opened.opened.settings == pb.WatchSettings(
        stream="votes",
        interval_us=SECOND,
        tolerance_us=SECOND,
        window=5,
        raise_votes=3,
        clear_votes=1,
    )
    assert not opened.opened.resumed
    assert opened.vote.verdict == pb.UNVERIFIED
    answers = [watched.ask(frame(number, level)) for number, level in enumerate(levels)]
    assert [pb.Verdict.Name(each.frame.check.verdict)[0] for each in answers] == list("VCUCVVVV")
    assert [pb.Verdict.Name(each.vote.verdict)[0] for each in answers] == list("VCCCCCVV")
    assert [each.alarm.on for each in answers] == [False] * 3 + [True] * 4 + [False]
    changes = [pb.Alarm.Change.Name(each.alarm.change)[0] for each in answers]
    assert changes == list("UUURUUUC")
    assert answers[2].frame.check.reason == "not finite: discrepancy, score, p_value"
    assert answers[3].frame.check.request_id == "votes/3"
    (last,) = watched.finish()
    assert not last.HasField("frame")
    assert (last.alarm.raised, last.alarm.cleared) == (1, 1)
    assert last.counts == pb.FrameCounts(judged=8)


def test_frames_between_samples_are_never_decoded(channel: grpc.Channel) -> None:
    """Frames of junk between good ones: were one decoded, its verdict would be UNVERIFIED."""
    watched = Camera(channel, stream="samples", interval_us=10 * SECOND)
    next(watched.call)
    for number in range(60):
        if number % 10 == 0:
            answer = watched.ask(frame(number))
            assert (answer.frame.sequence, answer.frame.capture_us) == (number, number * SECOND)
            assert answer.frame.check.verdict == pb.VALID
        else:
            at = number * SECOND
            watched.send(pb.Frame(sequence=number, capture_us=at, encoded=b"junk"))
    (last,) = watched.finish()
    assert last.counts == pb.FrameCounts(judged=6, skipped=54)
    assert last.vote == pb.Vote(verdict=pb.VALID, valid=5)


def test_lost_late_and_repeated_frames_are_counted(channel: grpc.Channel) -> None:
    watched = Camera(channel, stream="odd", tolerance_us=2 * SECOND)
    next(watched.call)
    for number in (10, 11, 15, 14):  # the last is behind by less than the tolerance
        assert watched.ask(frame(number)).frame.sequence == number
    watched.send(frame(12), frame(15), frame(12))
    (last,) = watched.finish()
    assert last.counts == pb.FrameCounts(judged=4, late=1, repeated=2, lost=1)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (pb.Frame(encoded=b"junk"), "neither a JPEG nor a PNG file"),
        (pb.Frame(), "image: missing; set encoded or tensor"),
        (pb.Frame(tensor=pb.Tensor(datatype="FP32", shape=[1], data=b"1234")), "numbers of shape"),
        (frame(0, 0.0), "the run failed"),
    ],
)
def test_a_frame_that_cannot_be_judged_votes_as_not_valid(
    channel: grpc.Channel, bad: pb.Frame, reason: str
) -> None:
    with camera(channel, stream=f"bad {reason}", window=1, restart=True) as watched:
        next(watched.call)
        answer = watched.ask(bad)
        assert answer.frame.check.verdict == answer.vote.verdict == pb.UNVERIFIED
        assert reason in answer.frame.check.reason
        assert answer.alarm.change == pb.Alarm.RAISED
        assert watched.ask(frame(1)).alarm.change == pb.Alarm.CLEARED


def test_a_stream_goes_on_where_it_was(channel: grpc.Channel) -> None:
    settings = {"stream": "resumed", "window": 3, "raise_votes": 2}
    first = Camera(channel, **settings)
    next(first.call)
    first.ask(frame(1, CORNER_CASE))
    first.call.cancel()
    again = Camera(channel, **settings)
    opened = next(again.call)
    assert (opened.opened.resumed, opened.opened.last_sequence) == (True, 1)
    assert again.ask(frame(4, CORNER_CASE)).alarm.change == pb.Alarm.RAISED
    assert again.finish()[0].counts == pb.FrameCounts(judged=2, lost=2)
    code, details = Camera(channel, stream="resumed", window=4, raise_votes=2).end()
    assert (code, "restart it" in details) == (Status.INVALID_ARGUMENT, True)
    with camera(channel, stream="resumed", window=4, raise_votes=2, restart=True) as anew:
        opened = next(anew.call)
        assert not opened.opened.resumed
        assert (opened.alarm.on, opened.counts) == (False, pb.FrameCounts())


def test_a_new_connection_takes_over(channel: grpc.Channel) -> None:
    old = Camera(channel, stream="shared")
    next(old.call)
    old.ask(frame(1, CORNER_CASE))
    with camera(channel, stream="shared") as new:
        opened = next(new.call)
        assert opened.opened.resumed
        assert opened.vote.corner_case == 1
        assert old.end()[0] == Status.ABORTED
        assert new.ask(frame(2)).counts == pb.FrameCounts(judged=2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "stream: 0 characters; 1 to 128 are allowed"),
        ({"stream": "x" * 129}, "stream: 129 characters"),
        ({"stream": "x", "window": 4, "raise_votes": 5}, "window 4: 0 <= clear_votes < raise"),
        ({"stream": "x", "raise_votes": 2, "clear_votes": 2}, "clear_votes 2, raise_votes 2"),
        ({"stream": "x", "window": 4_000_000_000}, "<= 1000 wanted"),
        ({"stream": "x", "interval_us": -1}, "interval_us: -1"),
        ({"stream": "x", "tolerance_us": 2**62}, "tolerance_us: 4611686018427387904"),
        ({"stream": "x", "threshold": float("nan")}, "threshold: nan"),
        ({"stream": "x", "threshold": float("inf")}, "threshold: inf"),
    ],
)
def test_bad_settings_are_named(channel: grpc.Channel, settings: dict, message: str) -> None:
    code, details = Camera(channel, **settings).end()
    assert (code, message in details) == (Status.INVALID_ARGUMENT, True), details


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([], "settings: missing"),
        ([pb.WatchRequest()], "settings: missing"),
        ([pb.WatchRequest(frame=frame(1))], "settings: missing"),
        ([pb.WatchRequest(settings=pb.WatchSettings(stream="twice"))] * 2, "frame: missing"),
        ([pb.WatchRequest(settings=pb.WatchSettings(stream="e")), pb.WatchRequest()], "frame: mi"),
    ],
)
def test_messages_out_of_order_are_named(
    channel: grpc.Channel, requests: list[pb.WatchRequest], message: str
) -> None:
    with pytest.raises(grpc.RpcError, match=message) as caught:
        list(GuardServiceStub(channel).Watch(iter(requests), timeout=PATIENCE))
    assert caught.value.code() == Status.INVALID_ARGUMENT


def test_an_unknown_model_is_not_found(channel: grpc.Channel) -> None:
    assert Camera(channel, stream="x", model="tinny").end()[0] == Status.NOT_FOUND


def test_a_slow_reader_loses_frames_and_nothing_grows(server: Running) -> None:
    """Answers that nobody reads stop the judging, not the reading; every frame is accounted for."""
    frames, narrow = 3000, [("grpc.http2.lookahead_bytes", 65536), ("grpc.http2.bdp_probe", 0)]
    name = 'cornerguard_frames_total{fate="sampled"}'
    before = server.metrics().get(name, 0)
    with grpc.insecure_channel(server.grpc, narrow) as channel:
        watched = Camera(channel, stream="slow")
        watched.send(*(frame(number) for number in range(frames)))
        deadline = time.monotonic() + PATIENCE
        while server.metrics().get(name, 0) < before + frames:
            assert time.monotonic() < deadline
        answers = watched.finish()
    counts = answers[-1].counts
    assert received(counts) == frames
    assert (counts.judged, counts.waiting) == (len(answers) - 2, 0)
    assert counts.dropped > frames / 2
    sequences = [each.frame.sequence for each in answers[1:-1]]
    assert sequences == sorted(set(sequences))
    assert sequences[-1] == frames - 1  # the newest is never the one that gives way


@pytest.fixture
def strict(tiny_bundle: Path, tmp_path: Path) -> Iterator[Running]:
    settings = tmp_path / "serve.yaml"
    settings.write_text("streams: {streams: 2, idle: 0.5}\nshutdown: {grace: 30}\n")
    with running(tiny_bundle, "--config", str(settings)) as server:
        yield server


def test_streams_are_bounded_expire_and_end_with_the_server(strict: Running) -> None:
    with grpc.insecure_channel(strict.grpc) as channel:
        one, two = (Camera(channel, stream=name) for name in ("one", "two"))
        assert not next(one.call).opened.resumed
        assert not next(two.call).opened.resumed
        assert strict.metrics()["cornerguard_streams"] == 2
        assert Camera(channel, stream="three").end()[0] == Status.RESOURCE_EXHAUSTED
        for silent in (one, two):
            code, details = silent.end()
            assert (code, "no frame came" in details) == (Status.DEADLINE_EXCEEDED, True)
        deadline = time.monotonic() + PATIENCE
        while True:  # both are known, though not connected, for another half second
            third = Camera(channel, stream="three")
            try:
                assert not next(third.call).opened.resumed
                break
            except grpc.RpcError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert third.ask(frame(1)).counts.judged == 1
        strict.process.send_signal(signal.SIGTERM)
        assert third.end()[0] == Status.UNAVAILABLE
        assert strict.process.wait(PATIENCE) == 0


def test_clients_that_vanish_leave_nothing_connected(strict: Running) -> None:
    for number in range(3):
        with grpc.insecure_channel(strict.grpc) as channel:
            vanishing = Camera(channel, stream="vanishing")
            next(vanishing.call)
            vanishing.send(*(frame(count) for count in range(number, number + 50)))
    deadline = time.monotonic() + PATIENCE
    while strict.metrics()["cornerguard_streams"]:
        assert time.monotonic() < deadline
    assert strict.process.poll() is None
