"""What becomes of frames, against sets and lists that remember everything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.errors import BadInput
from guard.serving.arrivals import LONGEST, REMEMBERED, STALE, Arrivals, Fate, Sampling

FAR = REMEMBERED + 5
NUMBERS = st.one_of(st.integers(0, 30), st.integers(0, 4 * FAR))
FRAMES = st.lists(st.tuples(NUMBERS, st.integers(0, 400)), max_size=STALE - 1)
SAMPLINGS = st.builds(Sampling, st.integers(0, 60), st.integers(0, 100))


def fates(sampling: Sampling, frames: list[tuple[int, int]]) -> list[Fate]:
    arrivals = Arrivals(sampling)
    return [arrivals.arrive(*frame) for frame in frames]


@given(SAMPLINGS, FRAMES)
def test_fates_are_those_of_the_definition(
    sampling: Sampling, frames: list[tuple[int, int]]
) -> None:
    arrivals = Arrivals(sampling)
    received: set[int] = set()
    sampled: set[int] = set()
    newest = None
    for sequence, time in frames:
        behind = max(received, default=sequence) - sequence
        if behind >= REMEMBERED:
            expected = "LATE"
        elif sequence in received:
            expected = "REPEATED"
        else:
            received.add(sequence)
            newest = time if newest is None else newest
            if time < newest - sampling.tolerance:
                expected = "LATE"
            else:
                newest = max(newest, time)
                since = time - frames[0][1]
                cell = since // sampling.interval if sampling.interval else sequence
                expected = "SKIPPED" if cell in sampled else "SAMPLED"
                sampled.add(cell)
        assert arrivals.arrive(sequence, time) == expected
        assert arrivals.last_sequence == max(received)
        assert arrivals.lost == max(received) - min(received) + 1 - len(received)


@pytest.mark.parametrize(
    ("sampling", "frames", "expected"),
    [
        (Sampling(0, 0), [(1, 10), (2, 10), (3, 11)], "SAMPLED SAMPLED SAMPLED"),
        (
            Sampling(100, 50),
            [(1, 7), (2, 106), (3, 107), (4, 400)],
            "SAMPLED SKIPPED SAMPLED SAMPLED",
        ),
        (Sampling(0, 20), [(1, 0), (3, 60), (2, 40), (2, 40)], "SAMPLED SAMPLED SAMPLED REPEATED"),
        (Sampling(0, 19), [(1, 0), (3, 60), (2, 40), (2, 40)], "SAMPLED SAMPLED LATE REPEATED"),
        (Sampling(30, 30), [(1, 0), (3, 60), (2, 30)], "SAMPLED SAMPLED SAMPLED"),
        (Sampling(0, 0), [(0, 0), (2**64 - 1, 1), (1, 2)], "SAMPLED SAMPLED LATE"),
        (Sampling(10, 10), [(5, -100), (6, 2**62), (7, -(2**63))], "SAMPLED SAMPLED LATE"),
    ],
)
def test_fates_by_hand(sampling: Sampling, frames: list[tuple[int, int]], expected: str) -> None:
    assert fates(sampling, frames) == expected.split()


@given(st.integers(1, 40), st.integers(1, 500), st.integers(0, 1000))
def test_a_steady_camera_is_sampled_at_the_interval(period: int, interval: int, start: int) -> None:
    """Of n frames, those that open an interval are sampled, whatever the ratio of the two."""
    times = [start + index * period for index in range(200)]
    got = fates(Sampling(interval, 0), list(enumerate(times)))
    sampled = [time - start for time, fate in zip(times, got, strict=True) if fate == "SAMPLED"]
    assert len(sampled) == len({(time - start) // interval for time in times})
    assert all(offset % interval < period for offset in sampled)


@pytest.mark.parametrize("stale", [(0, 5), (1_000, -5_000_000)], ids=["repeated", "late"])
def test_a_stream_that_began_anew_is_told_so(stale: tuple[int, int]) -> None:
    """Nothing sampled for ever would be silence; the error names the way out."""
    arrivals = Arrivals(Sampling(0, 1_000_000))
    arrivals.arrive(0, 0)
    sequence, time = stale
    step = 1 if sequence else 0
    for index in range(STALE - 1):
        arrivals.arrive(sequence + step * index, time)
    with pytest.raises(BadInput, match="began anew, restart the stream"):
        arrivals.arrive(sequence + step * STALE, time)


@pytest.mark.parametrize("sampling", [(-1, 0), (0, -1), (LONGEST + 1, 0), (0, LONGEST + 1)])
def test_samplings_that_cannot_be_are_refused(sampling: tuple[int, int]) -> None:
    with pytest.raises(BadInput, match=r"_us: .* microseconds are allowed"):
        Sampling(*sampling)
