"""Histograms that take many values at once: one call for a batch, not one for each image."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from prometheus_client import Metric
from prometheus_client.registry import Collector, CollectorRegistry

__all__ = ["BatchHistogram"]


class BatchHistogram(Collector):
    """A Prometheus histogram with the label `model`.

    Args:
        name, help_text: as Prometheus shows them.
        bounds: upper bounds of the buckets, ascending and inclusive; one without end is added.
        registry: where it is collected.
    """

    def __init__(
        self, name: str, help_text: str, bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name, self._help = name, help_text
        self._bounds = np.array([*bounds, np.inf])
        self._counts: dict[str, NDArray[np.int64]] = {}
        self._sums: dict[str, float] = {}
        registry.register(self)

    def of_model(self, model: str) -> None:
        """Show a model from now on, also before its first value."""
        self._counts.setdefault(model, np.zeros(len(self._bounds), np.int64))
        self._sums.setdefault(model, 0.0)

    def observe(self, model: str, values: ArrayLike) -> None:
        """Count values of a model that `of_model` named; what is not finite is left out."""
        numbers = np.asarray(values, np.float64)
        numbers = numbers[np.isfinite(numbers)]
        buckets = self._bounds.searchsorted(numbers)
        # A new array each time, so that a reader on another thread sees all of a batch or none.
        added = np.bincount(buckets, minlength=len(self._bounds))
        self._counts[model] = self._counts[model] + added
        self._sums[model] += float(numbers.sum())

    def collect(self) -> Iterator[Metric]:
        # Sample by sample: the family made for it leaves out the count where a bound is negative.
        metric = Metric(self._name, self._help, "histogram")
        for model, counts in list(self._counts.items()):
            label = {"model": model}
            upto = counts.cumsum().tolist()
            for bound, count in zip(self._bounds.tolist(), upto, strict=True):
                le = "+Inf" if math.isinf(bound) else str(bound)
                metric.add_sample(f"{self._name}_bucket", label | {"le": le}, count)
            metric.add_sample(f"{self._name}_count", label, upto[-1])
            if self._bounds[0] >= 0:  # else the sum may fall, which Prometheus takes for a restart
                metric.add_sample(f"{self._name}_sum", label, self._sums[model])
        yield metric
