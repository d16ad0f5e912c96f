"""What becomes of the frames of a stream as they come: sampled, skipped, late or repeated; lost.

Frames are sampled uniformly by their capture times (`guard.serving.voting` names the source): time
is cut into intervals from the first frame on, and of each interval the frame that comes first is
sampled. Nothing here looks at an image, so that a frame that is not sampled costs next to nothing.
"""

from dataclasses import dataclass
from typing import Final, Literal

from guard.errors import BadInput

__all__ = ["Arrivals", "Counts", "Fate", "Sampling"]

Fate = Literal["SAMPLED", "SKIPPED", "LATE", "REPEATED"]
REMEMBERED: Final = 1024
"""How many numbers, and intervals, back from the highest a stream knows which it has seen."""
STALE: Final = 256
"""So many late or repeated frames in a row mean that a stream's numbers or clock began anew."""
LONGEST: Final = 24 * 3600 * 1_000_000


@dataclass(frozen=True)
class Sampling:
    """How often a frame is sampled, and how late one may be; in microseconds of capture time.

    Raises:
        BadInput: a figure is negative or longer than a day.
    """

    interval: int
    """0 samples every frame."""
    tolerance: int

    def __post_init__(self) -> None:
        for name, value in (("interval_us", self.interval), ("tolerance_us", self.tolerance)):
            if not 0 <= value <= LONGEST:
                raise BadInput(f"{name}: {value}; 0 to {LONGEST} microseconds are allowed")


@dataclass
class Counts:
    """Frames since the stream began; together they are all that were received."""

    judged: int = 0
    """Sampled, judged and answered, UNVERIFIED ones included."""
    skipped: int = 0
    """Between two samples."""
    late: int = 0
    """Older than the newest frame by more than the tolerance, or too far behind to be told from a
    repeated one."""
    repeated: int = 0
    """With a sequence number that came before."""
    dropped: int = 0
    """Sampled, but given up for younger ones, because answers are taken or made too slowly."""
    waiting: int = 0
    """Sampled, and not answered yet."""


class Arrivals:
    """Sorts the frames of one stream, in bounded memory."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._sequences, self._intervals = _Recent(), _Recent()
        self._first = self._newest = 0
        self._started = False
        self._stale = 0

    @property
    def lost(self) -> int:
        """How many sequence numbers between the lowest and the highest never came."""
        return self._sequences.missing

    @property
    def last_sequence(self) -> int | None:
        """The highest sequence number that came."""
        return self._sequences.highest

    def arrive(self, sequence: int, time: int) -> Fate:
        """Decide what becomes of a frame.

        Args:
            sequence: its number in the stream; frames are numbered in steps of 1.
            time: when it was captured, in microseconds of any clock that is the stream's own.

        Raises:
            BadInput: nothing but late and repeated frames comes: without this error such a stream
                would go on in silence, with nothing sampled.
        """
        fate = self._fate(sequence, time)
        self._stale = self._stale + 1 if fate in ("LATE", "REPEATED") else 0
        if self._stale >= STALE:
            raise BadInput(
                f"frame {sequence}: {STALE} late or repeated frames in a row; if their numbers or"
                " clock began anew, restart the stream"
            )
        return fate

    def _fate(self, sequence: int, time: int) -> Fate:
        known = self._sequences.add(sequence)
        if known == "SEEN":
            return "REPEATED"
        if not self._started:
            self._first = self._newest = time
            self._started = True
        if known == "OLD" or time < self._newest - self._sampling.tolerance:
            return "LATE"
        self._newest = max(self._newest, time)
        if not self._sampling.interval:
            return "SAMPLED"
        interval = self._intervals.add((time - self._first) // self._sampling.interval)
        fates: dict[str, Fate] = {"NEW": "SAMPLED", "SEEN": "SKIPPED", "OLD": "LATE"}
        return fates[interval]


class _Recent:
    """Which of the numbers up to the highest were seen: the anti-replay window of RFC 4303, 3.4.3.

    Bit k of the mask stands for the number k below the highest.
    """

    def __init__(self) -> None:
        self.highest: int | None = None
        self._lowest = 0
        self._mask = 0
        self._seen = 0

    @property
    def missing(self) -> int:
        """How many numbers between the lowest and the highest were not seen."""
        return 0 if self.highest is None else self.highest - self._lowest + 1 - self._seen

    def add(self, number: int) -> Literal["NEW", "SEEN", "OLD"]:
        """Note a number; an OLD one is too far below the highest to be remembered."""
        if self.highest is None:
            self.highest = self._lowest = number
        if number > self.highest:
            ahead = number - self.highest
            kept = self._mask << ahead if ahead < REMEMBERED else 0
            self._mask = kept & ((1 << REMEMBERED) - 1)
            self.highest = number
        behind = self.highest - number
        if behind >= REMEMBERED:
            return "OLD"
        bit = 1 << behind
        if self._mask & bit:
            return "SEEN"
        self._mask |= bit
        self._lowest = min(self._lowest, number)
        self._seen += 1
        return "NEW"
