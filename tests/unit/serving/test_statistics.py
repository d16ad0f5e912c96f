"""The sums of Triton's statistics, worked out by hand."""

import time

from guard.serving.statistics import Statistics


def test_a_run_of_three_requests_and_one_of_one() -> None:
    statistics = Statistics()
    for seconds in (0.25, 0.5, 0.75):
        statistics.waited(seconds)
    statistics.ran(images=8, requests=3, seconds=2.0)
    statistics.waited(0.0)
    statistics.ran(images=1, requests=1, seconds=1.0)
    statistics.ran(images=8, requests=1, seconds=4.0)
    statistics.converted(read=0.125, written=0.0625)
    for seconds, failed in ((3.0, False), (3.5, False), (0.5, True)):
        statistics.ended(seconds, failed)
    seen = statistics.message("m", "7")
    assert (seen.name, seen.version) == ("m", "7")
    assert (seen.inference_count, seen.execution_count) == (17, 3)
    assert 0 <= time.time() * 1000 - seen.last_inference < 60_000

    def of(duration: object) -> tuple[int, float]:
        return duration.count, duration.ns / 1e9  # type: ignore[attr-defined]

    whole = seen.inference_stats
    assert of(whole.success) == (2, 6.5)
    assert of(whole.fail) == (1, 0.5)
    assert of(whole.queue) == (4, 1.5)
    assert of(whole.compute_input) == (1, 0.125)
    assert of(whole.compute_infer) == (5, 3 * 2.0 + 1.0 + 4.0)
    assert of(whole.compute_output) == (1, 0.0625)
    assert [batch.batch_size for batch in seen.batch_stats] == [1, 8]
    one, eight = seen.batch_stats
    assert of(one.compute_infer) == (1, 1.0)
    assert of(eight.compute_infer) == (2, 6.0)


def test_nothing_yet() -> None:
    seen = Statistics().message("m", "7")
    assert (seen.last_inference, seen.inference_count, list(seen.batch_stats)) == (0, 0, [])
