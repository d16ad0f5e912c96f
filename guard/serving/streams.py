"""The state of one watched stream: its frames sorted, its votes counted, in bounded memory."""

import math
from dataclasses import dataclass

from guard.errors import BadInput
from guard.serving.arrivals import Arrivals, Counts, Fate, Sampling
from guard.serving.protocol import guard_pb2 as pb
from guard.serving.verdict import VERDICTS
from guard.serving.voting import Change, Rules, Voting

__all__ = ["Stream", "StreamSettings"]

WINDOW, TOLERANCE_US, LONGEST_ID = 5, 1_000_000, 128


@dataclass(frozen=True)
class StreamSettings:
    """What a client asks of a stream."""

    stream: str
    model: str
    threshold: float | None
    sampling: Sampling
    rules: Rules

    @classmethod
    def of(cls, message: pb.WatchSettings) -> "StreamSettings":
        """Read the settings, and fill in what is unset.

        Raises:
            BadInput: a value is not allowed.
        """
        if not 0 < len(message.stream) <= LONGEST_ID:
            raise BadInput(
                f"stream: {len(message.stream)} characters; 1 to {LONGEST_ID} are allowed"
            )
        threshold = message.threshold if message.HasField("threshold") else None
        if threshold is not None and not math.isfinite(threshold):
            raise BadInput(f"threshold: {threshold}; a finite number is wanted")
        late = message.tolerance_us if message.HasField("tolerance_us") else TOLERANCE_US
        window = message.window or WINDOW
        raised_by = message.raise_votes or window // 2 + 1
        cleared_by = message.clear_votes if message.HasField("clear_votes") else raised_by // 2
        sampling = Sampling(message.interval_us, late)
        rules = Rules(window, raised_by, cleared_by)
        return cls(message.stream, message.model, threshold, sampling, rules)

    def message(self) -> pb.WatchSettings:
        """Return them all, as they go over the wire."""
        return pb.WatchSettings(
            stream=self.stream,
            model=self.model,
            threshold=self.threshold,
            interval_us=self.sampling.interval,
            tolerance_us=self.sampling.tolerance,
            window=self.rules.window,
            raise_votes=self.rules.raise_votes,
            clear_votes=self.rules.clear_votes,
        )


class Stream:
    """What is known of a stream over all its connections."""

    def __init__(self, settings: StreamSettings) -> None:
        self.settings = settings
        self.counts = Counts()
        self._arrivals = Arrivals(settings.sampling)
        self._voting = Voting(settings.rules)
        self._changes: dict[Change, int] = {"UNCHANGED": 0, "RAISED": 0, "CLEARED": 0}

    def arrive(self, frame: pb.Frame) -> Fate:
        """Count a frame, and say what becomes of it; a sampled one is among those that wait.

        Raises:
            BadInput: for too long nothing but late and repeated frames came.
        """
        fate, counts = self._arrivals.arrive(frame.sequence, frame.capture_us), self.counts
        match fate:
            case "SAMPLED":
                counts.waiting += 1
            case "SKIPPED":
                counts.skipped += 1
            case "LATE":
                counts.late += 1
            case "REPEATED":
                counts.repeated += 1
        return fate

    def drop(self, frames: int) -> None:
        """Give up frames that wait."""
        self.counts.waiting -= frames
        self.counts.dropped += frames

    def opened(self, resumed: bool) -> pb.WatchResponse:
        """Return the first answer of a connection."""
        last = self._arrivals.last_sequence
        answer = self.summary()
        answer.opened.CopyFrom(
            pb.Opened(settings=self.settings.message(), resumed=resumed, last_sequence=last)
        )
        return answer

    def judged(self, frame: pb.Frame, check: pb.CheckResponse) -> pb.WatchResponse:
        """Let a frame vote, and return its answer."""
        self.counts.waiting -= 1
        self.counts.judged += 1
        vote = self._voting.cast(frame.capture_us, VERDICTS[check.verdict])
        self._changes[vote.change] += 1
        answer = self.summary()
        answer.alarm.MergeFrom(pb.Alarm(change=vote.change))
        answer.frame.CopyFrom(
            pb.JudgedFrame(sequence=frame.sequence, capture_us=frame.capture_us, check=check)
        )
        return answer

    def summary(self) -> pb.WatchResponse:
        """Return how the stream stands."""
        vote = self._voting.state()
        return pb.WatchResponse(
            vote=pb.Vote(
                verdict=vote.verdict,
                valid=vote.valid,
                corner_case=vote.corner_case,
                unverified=vote.unverified,
            ),
            alarm=pb.Alarm(
                on=vote.alarm, raised=self._changes["RAISED"], cleared=self._changes["CLEARED"]
            ),
            counts=pb.FrameCounts(**vars(self.counts), lost=self._arrivals.lost),
        )
