"""A histogram that takes a batch at once shows what one of prometheus_client's own would."""

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from guard.serving.histograms import BatchHistogram


@pytest.mark.parametrize("bounds", [(0.5, 1.0, 2.5), (-10.0, -0.5, 0.0, 0.05, 10.0)])
def test_the_exposition_is_that_of_a_plain_histogram(bounds: tuple[float, ...]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    batched = BatchHistogram("score", "Of an image.", bounds, ours)
    plain = Histogram("score", "Of an image.", ["model"], buckets=bounds, registry=theirs)
    draw = np.random.default_rng(0)
    batches = [np.round(draw.normal(0, 2, size) * 4) / 4 for size in (1, 7, 32)]
    batches += [np.array(bounds)]  # bounds belong to their buckets
    for model in ("red", "blue"):
        batched.of_model(model)
        child = plain.labels(model)
        for values in batches:
            batched.observe(model, values)
            for value in values:
                child.observe(value)

    def lines(registry: CollectorRegistry) -> list[str]:
        text = generate_latest(registry).decode().splitlines()
        return sorted(line for line in text if "_created" not in line)

    assert lines(ours) == lines(theirs)


def test_what_is_not_finite_is_left_out() -> None:
    registry = CollectorRegistry()
    histogram = BatchHistogram("score", "Of an image.", (1.0,), registry)
    histogram.of_model("red")
    histogram.observe("red", [0.5, np.nan, np.inf, -np.inf])
    assert registry.get_sample_value("score_count", {"model": "red"}) == 1
    assert registry.get_sample_value("score_sum", {"model": "red"}) == 0.5
