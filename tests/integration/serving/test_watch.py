"""Streams of frames against a server process, by the plain stub."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from guard.serving.protocol import guard_pb2 as pb
from guard.serving.protocol.guard_pb2_grpc import GuardServiceStub
from tests.integration.serving.camera import CORNER_CASE, SECOND, Camera, camera, frame
from tests.integration.serving.running import PATIENCE, Running

Status = grpc.StatusCode
UNVERIFIED_IMAGES = 'cornerguard_images_total{model="tiny",verdict="UNVERIFIED"}'


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
    channel: grpc.Channel, server: Running, bad: pb.Frame, reason: str
) -> None:
    counts = 'cornerguard_rejected_total{reason="invalid_argument"}', UNVERIFIED_IMAGES
    before = [server.metrics().get(name, 0) for name in counts]
    with camera(channel, stream=f"bad {reason}", window=1, restart=True) as watched:
        next(watched.call)
        answer = watched.ask(bad)
        assert answer.frame.check.verdict == answer.vote.verdict == pb.UNVERIFIED
        assert reason in answer.frame.check.reason
        assert answer.alarm.change == pb.Alarm.RAISED
        assert watched.ask(frame(1)).alarm.change == pb.Alarm.CLEARED
    after = [server.metrics().get(name, 0) for name in counts]
    assert sum(after) == sum(before) + 1


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


def test_every_connection_is_told_of_its_end_in_a_storm_of_them(channel: grpc.Channel) -> None:
    """A take-over may come while the first answer of the old connection is on its way."""
    messages = [
        pb.WatchRequest(settings=pb.WatchSettings(stream="storm", restart=True)),
        *(pb.WatchRequest(frame=frame(number)) for number in (1, 2)),
    ]

    def end(_: int) -> Status:
        call = GuardServiceStub(channel).Watch(iter(messages), timeout=PATIENCE)
        with contextlib.suppress(grpc.RpcError):
            list(call)
        return call.code()

    with ThreadPoolExecutor(6) as pool:
        ends = set(pool.map(end, range(300)))
    assert ends == {Status.OK, Status.ABORTED}


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
