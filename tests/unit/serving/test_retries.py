"""When a call is tried again: which codes, how long after, and what the server asks for."""

import time

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from guard.calling.retries import Attempts, Retries, hint
from guard.calling.watching import Session, StreamOptions
from guard.errors import BadInput, CornerguardError
from guard.serving.protocol import guard_pb2 as pb

Code = grpc.StatusCode


class Refusal(grpc.RpcError):
    """An error as a channel raises it."""

    def __init__(self, code: Code, trailers: tuple[tuple[str, str | bytes], ...] = ()) -> None:
        self._code, self._trailers = code, trailers

    def code(self) -> Code:
        return self._code

    def details(self) -> str:
        return "because\nof this"

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self._trailers


def retry_info(seconds: float) -> tuple[str, bytes]:
    information, detail = RetryInfo(), AnyMessage()
    information.retry_delay.FromNanoseconds(round(seconds * 1e9))
    detail.Pack(information)
    return "grpc-status-details-bin", Status(code=8, details=[detail]).SerializeToString()


def attempts(seconds: float = 1000.0, draw: float = 1.0) -> Attempts:
    return Attempts(Retries(first=0.1, longest=1.0), "here:1", seconds, draw=lambda: draw)


def test_waits_double_up_to_the_longest() -> None:
    tried = attempts()
    waits = [tried.wait(Refusal(Code.UNAVAILABLE)) for _ in range(6)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


@given(st.floats(0, 1, exclude_max=True))
def test_waits_are_drawn_below_the_bound(draw: float) -> None:
    tried = attempts(draw=draw)
    for bound in (0.1, 0.2, 0.4):
        assert tried.wait(Refusal(Code.UNAVAILABLE)) == pytest.approx(draw * bound)


@pytest.mark.parametrize(
    ("trailers", "seconds"),
    [
        ((), None),
        ((("grpc-retry-pushback-ms", "250"),), 0.25),
        ((("grpc-retry-pushback-ms", "-1"),), -0.001),
        ((("grpc-retry-pushback-ms", "soon"),), -1.0),
        ((retry_info(1.5),), 1.5),
        ((("grpc-retry-pushback-ms", "250"), retry_info(1.5)), 0.25),
        ((("grpc-status-details-bin", b"\xff\xff"),), None),
        ((("grpc-status-details-bin", Status(code=8).SerializeToString()),), None),
    ],
)
def test_hints(trailers: tuple[tuple[str, str | bytes], ...], seconds: float | None) -> None:
    assert hint(Refusal(Code.RESOURCE_EXHAUSTED, trailers)) == seconds


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 5000))
def test_no_wait_is_shorter_than_the_server_asks(draw: float, milliseconds: int) -> None:
    trailers = (("grpc-retry-pushback-ms", str(milliseconds)),)
    wait = attempts(draw=draw).wait(Refusal(Code.RESOURCE_EXHAUSTED, trailers))
    assert milliseconds / 1000 <= wait <= milliseconds / 1000 + 0.1


@pytest.mark.parametrize(
    "code", [code for code in Code if code.name not in "UNAVAILABLE RESOURCE_EXHAUSTED CANCELLED"]
)
def test_other_codes_are_not_tried_again(code: Code) -> None:
    with pytest.raises(CornerguardError, match="because of this") as caught:
        attempts().wait(Refusal(code))
    wrong_input = code in (Code.INVALID_ARGUMENT, Code.NOT_FOUND)
    assert isinstance(caught.value, BadInput) == wrong_input
    assert str(caught.value).startswith("because" if wrong_input else f"here:1: {code.name}: ")


def test_a_message_that_is_too_large_is_not_sent_again() -> None:
    """gRPC refuses it without a hint, which every refusal of an overloaded server has."""
    with pytest.raises(CornerguardError, match="here:1: RESOURCE_EXHAUSTED: because of this"):
        attempts().wait(Refusal(Code.RESOURCE_EXHAUSTED))


@pytest.mark.parametrize(
    ("seconds", "trailers"),
    [(0.05, ()), (0.0, ()), (1.0, (retry_info(5.0),)), (9.0, (("grpc-retry-pushback-ms", "-1"),))],
)
def test_a_wait_that_cannot_help_is_not_begun(
    seconds: float, trailers: tuple[tuple[str, str | bytes], ...]
) -> None:
    with pytest.raises(CornerguardError, match="here:1: UNAVAILABLE: because of this"):
        attempts(seconds).wait(Refusal(Code.UNAVAILABLE, trailers))


def test_where_the_time_ran_out_the_attempt_before_says_why() -> None:
    tried = attempts()
    tried.wait(Refusal(Code.UNAVAILABLE))
    with pytest.raises(CornerguardError, match="UNAVAILABLE"):
        tried.wait(Refusal(Code.DEADLINE_EXCEEDED))
    with pytest.raises(CornerguardError, match="DEADLINE_EXCEEDED"):
        attempts().wait(Refusal(Code.DEADLINE_EXCEEDED))


OPENED = pb.WatchResponse(opened=pb.Opened())
JUDGED = pb.WatchResponse(frame=pb.JudgedFrame(sequence=1))


def session() -> Session:
    return Session(StreamOptions("front", restart=True), "", "here:1", Retries(1e-3, 0.01), 0.1)


@pytest.mark.parametrize("heard", [OPENED, JUDGED], ids=["opened", "judged"])
def test_a_stream_that_was_long_open_may_be_lost_again(heard: pb.WatchResponse) -> None:
    """The time counts from when the server is away, not from when it was last heard."""
    watching = session()
    for code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE):
        assert watching.wait(Refusal(code)) <= 0.01
        watching.read(heard)
        time.sleep(0.15)


def test_a_server_that_stays_away_is_given_up() -> None:
    watching = session()
    watching.wait(Refusal(Code.UNAVAILABLE))
    time.sleep(0.15)
    with pytest.raises(CornerguardError, match="here:1: UNAVAILABLE"):
        watching.wait(Refusal(Code.UNAVAILABLE))


@pytest.mark.parametrize("code", [Code.ABORTED, Code.INVALID_ARGUMENT, Code.NOT_FOUND])
def test_a_stream_that_was_refused_is_not_opened_again(code: Code) -> None:
    with pytest.raises(CornerguardError):
        session().wait(Refusal(code))


def test_a_stream_is_restarted_once() -> None:
    watching = session()
    assert watching.settings.restart
    assert watching.read(OPENED) is None
    assert not watching.settings.restart


def test_the_last_answer_sums_up() -> None:
    watching = session()
    judged = watching.read(JUDGED)
    assert judged is not None
    assert judged.sequence == 1
    assert (watching.read(pb.WatchResponse()), watching.summary is not None) == (None, True)
