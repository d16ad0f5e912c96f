"""Votes and the alarm against a brute-force reading of their definition, over random streams."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.errors import BadInput
from guard.serving.verdict import VERDICTS
from guard.serving.voting import Rules, Voting

RULES = st.integers(1, 8).flatmap(
    lambda window: st.integers(1, window).flatmap(
        lambda up: st.integers(0, up - 1).map(lambda down: Rules(window, up, down))
    )
)
FRAMES = st.lists(st.tuples(st.integers(0, 20), st.sampled_from(VERDICTS)), max_size=60)


@given(RULES, FRAMES)
def test_votes_are_those_of_the_definition(rules: Rules, frames: list[tuple[int, str]]) -> None:
    """All frames so far, sorted by time (of one time by arrival), and the last `window` of them."""
    voting, alarm = Voting(rules), False
    for count in range(1, len(frames) + 1):
        kept = sorted(frames[:count], key=lambda frame: frame[0])[-rules.window :]
        names = [name for _, name in kept]
        against = len(names) - names.count("VALID")
        was, alarm = alarm, against >= rules.raise_votes or (alarm and against > rules.clear_votes)
        vote = voting.cast(*frames[count - 1])
        assert (vote.valid, vote.corner_case, vote.unverified) == tuple(
            names.count(name) for name in ("VALID", "CORNER_CASE", "UNVERIFIED")
        )
        assert vote.alarm == alarm
        assert vote.change == {(False, True): "RAISED", (True, False): "CLEARED"}.get(
            (was, alarm), "UNCHANGED"
        )
        assert (vote.verdict == "VALID") == (vote.valid > against)
        if vote.verdict != "VALID":
            assert names.count(vote.verdict) == max(map(names.count, ("CORNER_CASE", "UNVERIFIED")))
    assert voting.state().alarm == alarm


@given(RULES, FRAMES)
def test_an_error_is_never_better_than_a_pass(rules: Rules, frames: list[tuple[int, str]]) -> None:
    """A stream whose UNVERIFIED frames were corner cases raises the same alarms."""
    one, other = Voting(rules), Voting(rules)
    for time, name in frames:
        worse = "CORNER_CASE" if name == "UNVERIFIED" else name
        seen, wanted = one.cast(time, name), other.cast(time, worse)
        assert (seen.alarm, seen.change, seen.valid) == (wanted.alarm, wanted.change, wanted.valid)


def alarms(rules: Rules, letters: str) -> str:
    """Return, for V, C and U, the alarm after each: `!` where it is raised, `.` where not."""
    voting, names = Voting(rules), {name[0]: name for name in VERDICTS}
    votes = [voting.cast(time, names[letter]) for time, letter in enumerate(letters)]
    return "".join("!" if vote.alarm else "." for vote in votes)


@pytest.mark.parametrize(
    ("rules", "frames", "alarm"),
    [
        (Rules(5, 3, 1), "VCVCVCVVVVVV", ".....!!!...."),
        (Rules(5, 3, 1), "VVCVVVCVVV", ".........."),
        (Rules(5, 3, 1), "UUUVVVV", "..!!!!."),
        (Rules(1, 1, 0), "VCVUV", ".!.!."),
        (Rules(3, 3, 0), "CCVCCCVVV", ".....!!!."),
    ],
)
def test_alarms_by_hand(rules: Rules, frames: str, alarm: str) -> None:
    assert alarms(rules, frames) == alarm


def test_nothing_said_is_not_a_pass() -> None:
    assert Voting(Rules(5, 3, 1)).state().verdict == "UNVERIFIED"


@pytest.mark.parametrize("rules", [(5, 3, 3), (5, 6, 1), (0, 0, 0), (5, 3, -1), (1001, 3, 1)])
def test_rules_that_cannot_be_are_refused(rules: tuple[int, int, int]) -> None:
    with pytest.raises(BadInput, match="0 <= clear_votes < raise_votes <= window <= 1000"):
        Rules(*rules)
