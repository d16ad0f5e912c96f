"""Majority votes over the last frames of a stream, and an alarm with hysteresis.

The method is that of W. Wu, "On the Robustness and Interpretability of Deep Learning Models"
(2021), section 3.5: "After obtaining the video input from the car's cameras, we can uniformly
sample some video frames from the video input at a pre-defined interval. Then we feed these frames
into Deep Validation and acquire the final validation results by majority voting. If we observe
several invalid sets of video frames, it implies that the self-driving car is running at risk, for
example, under bad weather conditions. We then remind the driver to take control of the car to
reduce danger."

Here the sets overlap: each sampled frame closes a set of its own, the last `window` frames.
"Several invalid sets" in a row are more frames not valid than a majority needs, so that one number,
`raise_votes`, says how many.
"""

from bisect import insort_right
from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal

from guard.errors import BadInput
from guard.serving.verdict import VERDICTS, Name

__all__ = ["Change", "Rules", "Vote", "Voting"]

Change = Literal["UNCHANGED", "RAISED", "CLEARED"]
MOST_VOTES: Final = 1000


@dataclass(frozen=True)
class Rules:
    """How many frames vote, and how many votes move the alarm.

    The alarm is raised when at least `raise_votes` of the last `window` frames are not VALID, and
    cleared when at most `clear_votes` are; between the two it stays as it is.

    Raises:
        BadInput: not 0 ≤ clear_votes < raise_votes ≤ window ≤ 1000.
    """

    window: int
    raise_votes: int
    clear_votes: int

    def __post_init__(self) -> None:
        if not 0 <= self.clear_votes < self.raise_votes <= self.window <= MOST_VOTES:
            raise BadInput(
                f"clear_votes {self.clear_votes}, raise_votes {self.raise_votes}, window"
                f" {self.window}: 0 <= clear_votes < raise_votes <= window <= {MOST_VOTES} wanted"
            )


@dataclass(frozen=True)
class Vote:
    """What the last frames say together, and what that does to the alarm."""

    verdict: Name
    """VALID if more than half of the frames are; else CORNER_CASE or UNVERIFIED, whichever are
    more, and CORNER_CASE if they are as many. Without a frame UNVERIFIED."""
    valid: int
    corner_case: int
    unverified: int
    alarm: bool
    change: Change


class Voting:
    """The votes of one stream, the latest `window` by capture time.

    An UNVERIFIED frame votes as not valid: an error is never a pass.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._votes: list[tuple[int, Name]] = []
        self._alarm = False

    def cast(self, time: int, verdict: Name) -> Vote:
        """Count the vote of a frame that was captured at `time`, and return the new state.

        A frame that comes after younger ones takes its place among them; one that is older than a
        full window changes nothing.
        """
        insort_right(self._votes, (time, verdict), key=lambda vote: vote[0])
        del self._votes[: -self._rules.window]
        against = sum(verdict != "VALID" for _, verdict in self._votes)
        change: Change = "UNCHANGED"
        if not self._alarm and against >= self._rules.raise_votes:
            self._alarm, change = True, "RAISED"
        elif self._alarm and against <= self._rules.clear_votes:
            self._alarm, change = False, "CLEARED"
        return self._vote(change)

    def state(self) -> Vote:
        """Return the vote as it stands."""
        return self._vote("UNCHANGED")

    def _vote(self, change: Change) -> Vote:
        counts = Counter(verdict for _, verdict in self._votes)
        unverified, valid, corner_case = (counts[name] for name in VERDICTS)
        against: Name = "CORNER_CASE" if 0 < corner_case >= unverified else "UNVERIFIED"
        verdict: Name = "VALID" if 2 * valid > len(self._votes) else against
        return Vote(verdict, valid, corner_case, unverified, self._alarm, change)
