"""Token buckets: beside one that is filled step by step, and how many are kept."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.serving.rates import Rates

# Times and rates that binary fractions hold exactly: neither side rounds.
GAPS = st.lists(st.integers(0, 40).map(lambda eighths: eighths / 8), min_size=1, max_size=60)


class Bucket:
    """A token bucket as the textbooks have it."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst = rate, burst
        self.level, self.then = float(burst), 0.0

    def take(self, now: float) -> bool:
        self.level = min(self.burst, self.level + (now - self.then) * self.rate)
        self.then = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


@given(GAPS, st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]), st.integers(1, 5))
@settings(deadline=None)
def test_takes_as_a_bucket_does(gaps: list[float], rate: float, burst: int) -> None:
    rates, bucket, now = Rates(rate, burst), Bucket(rate, burst), 0.0
    for gap in gaps:
        now += gap
        wait = rates.take("a", now)
        assert (wait == 0) == bucket.take(now)
        if wait:
            assert wait == pytest.approx((1 - bucket.level) / rate)


def test_who_waits_as_long_as_told_is_taken() -> None:
    rates, now = Rates(rate=3.0, burst=2), 100.0
    for _ in range(50):
        wait = rates.take("a", now)
        if wait:
            now += wait
            assert rates.take("a", now) == 0
    assert now == pytest.approx(100 + (50 - 2) / 3)


def test_clients_do_not_share() -> None:
    rates = Rates(rate=1.0, burst=1)
    assert rates.take("a", 5.0) == 0
    assert rates.take("b", 5.0) == 0
    assert rates.take("a", 5.0) > 0


def test_memory_is_bounded_and_the_busiest_are_remembered() -> None:
    rates = Rates(rate=1.0, burst=3, clients=100)
    for _ in range(3):
        rates.take("busy", 0.0)
    for number in range(10_000):
        rates.take(number, 0.0)
        assert rates.kept <= 100
    assert rates.take("busy", 0.0) > 0


def test_full_buckets_are_forgotten() -> None:
    rates = Rates(rate=1.0, burst=3, clients=100)
    for number in range(100):
        rates.take(number, 0.0)
    rates.take("later", 1000.0)
    assert rates.kept == 1
