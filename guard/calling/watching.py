"""The client's side of a stream: what it is asked for, and what comes of it."""

from dataclasses import dataclass

import grpc

from guard.calling.messages import Image, known, put_image, verdict_of
from guard.calling.retries import WORTH, Attempts, Retries
from guard.serving.arrivals import Counts
from guard.serving.protocol import guard_pb2 as pb
from guard.serving.verdict import Verdict
from guard.serving.voting import Change, Vote

__all__ = ["Frame", "Session", "StreamOptions", "Watched"]

MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Frame:
    """One frame of a camera."""

    sequence: int
    """Its number in the stream, in steps of 1."""
    captured: float
    """When, in seconds of any clock that is the stream's own."""
    image: Image

    def request(self) -> pb.WatchRequest:
        """Return the message.

        Raises:
            BadInput: the file cannot be read, or the array is of another type.
        """
        at = round(self.captured * MICROSECONDS)
        message = pb.Frame(sequence=self.sequence, capture_us=at)
        put_image(message, self.image)
        return pb.WatchRequest(frame=message)


@dataclass(frozen=True)
class StreamOptions:
    """How a stream is watched; what is None is left to the server's defaults."""

    stream: str
    """Its id; no two cameras may share one."""
    interval: float = 0.0
    """Seconds of capture time of which one frame is sampled; 0 samples all."""
    tolerance: float | None = None
    """A frame older than the newest by more than so many seconds is late; by default 1."""
    window: int | None = None
    """How many sampled frames vote; by default 5."""
    raise_votes: int | None = None
    """So many of them not VALID raise the alarm; by default a majority."""
    clear_votes: int | None = None
    """At most so many not VALID clear it; by default half of `raise_votes`."""
    threshold: float | None = None
    """Of the joint discrepancy; by default the calibrated one."""
    restart: bool = False
    """Forget what the server knows of this stream."""

    def message(self, model: str) -> pb.WatchSettings:
        """Return the message that opens the stream."""
        late = None if self.tolerance is None else round(self.tolerance * MICROSECONDS)
        return pb.WatchSettings(
            stream=self.stream,
            model=model,
            threshold=self.threshold,
            interval_us=round(self.interval * MICROSECONDS),
            tolerance_us=late,
            window=self.window,
            raise_votes=self.raise_votes,
            clear_votes=self.clear_votes,
            restart=self.restart,
        )


@dataclass(frozen=True)
class Watched:
    """What the server says of a sampled frame, and of the stream as it then stands."""

    sequence: int | None
    """Of the frame; None in the last answer, which sums up."""
    verdict: Verdict | None
    """On the frame; None in the last answer."""
    vote: Vote
    """Of the last frames together, with the alarm and what this frame changed of it."""
    raised: int
    """How often the alarm was raised since the stream began."""
    cleared: int
    counts: Counts
    lost: int
    """Sequence numbers between the lowest and the highest that never came."""


class Session:
    """A stream over all its connections: what to open it with, what came, when to try again.

    Attributes:
        settings: the first message of the next connection.
        summary: the last answer of a connection that the client ended.
    """

    def __init__(
        self, options: StreamOptions, model: str, target: str, retries: Retries, seconds: float
    ) -> None:
        self.settings = options.message(model)
        self.summary: Watched | None = None
        self._target, self._retries, self._seconds = target, retries, seconds
        self._attempts: Attempts | None = None

    def read(self, response: pb.WatchResponse) -> Watched | None:
        """Return what is said of a frame; None for an answer that opens or sums up."""
        self.settings.restart = False
        if response.HasField("opened"):
            if self._attempts is not None:  # a server that opens and falls over again is spared
                self._attempts.renew()
            return None
        self._attempts, watched = None, _watched(response)
        self.summary = watched if watched.verdict is None else None
        return None if watched.verdict is None else watched

    def wait(self, error: grpc.RpcError) -> float:
        """Return how many seconds to wait before connecting again; raises as `Attempts.wait`."""
        if self._attempts is None:
            # A stream has no deadline of its own: where it is exceeded, the server heard no frame
            # for too long, and the next one may open a connection again.
            worth = (*WORTH, grpc.StatusCode.DEADLINE_EXCEEDED)
            self._attempts = Attempts(self._retries, self._target, self._seconds, worth)
        return self._attempts.wait(error)


def _watched(response: pb.WatchResponse) -> Watched:
    vote, alarm, counts = response.vote, response.alarm, response.counts
    is_last = not response.HasField("frame")
    changes: dict[int, Change] = {pb.Alarm.RAISED: "RAISED", pb.Alarm.CLEARED: "CLEARED"}
    return Watched(
        sequence=None if is_last else response.frame.sequence,
        verdict=None if is_last else verdict_of(response.frame.check),
        vote=Vote(
            verdict=known(vote.verdict),
            valid=vote.valid,
            corner_case=vote.corner_case,
            unverified=vote.unverified,
            alarm=alarm.on,
            change=changes.get(alarm.change, "UNCHANGED"),
        ),
        raised=alarm.raised,
        cleared=alarm.cleared,
        counts=Counts(*(getattr(counts, field) for field in Counts.__dataclass_fields__)),
        lost=counts.lost,
    )
