"""What a model has done since it was loaded, as Triton's clients count it."""

import time
from dataclasses import dataclass

from guard.serving.protocol import extensions_pb2 as pb

__all__ = ["Statistics"]


@dataclass
class _Duration:
    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """Count something that took so long, so many times over."""
        self.count += count
        self.seconds += seconds * count

    def message(self) -> pb.StatisticDuration:
        return pb.StatisticDuration(count=self.count, ns=round(self.seconds * 1e9))


class Statistics:
    """A few sums; each method is called for a request or a run, and adds to some of them.

    A request whose answer is UNVERIFIED has succeeded: it was answered. What a run takes counts
    once for each of its requests, so that averages over requests come out right.
    """

    def __init__(self) -> None:
        self._images = self._runs = self._last = 0
        self._success, self._fail, self._queue = _Duration(), _Duration(), _Duration()
        self._input, self._infer, self._output = _Duration(), _Duration(), _Duration()
        self._batches: dict[int, _Duration] = {}

    def waited(self, seconds: float) -> None:
        """Count a request that left the queue after so long."""
        self._queue.add(seconds)

    def ran(self, images: int, requests: int, seconds: float) -> None:
        """Count one run of so many images, which were of so many requests."""
        self._images += images
        self._runs += 1
        self._infer.add(seconds, requests)
        self._batches.setdefault(images, _Duration()).add(seconds)

    def converted(self, read: float, written: float) -> None:
        """Add the seconds in which a request's tensors were read, and its response written.

        They are its `compute_input` and `compute_output`, and belong to no batch.
        """
        self._input.add(read)
        self._output.add(written)

    def ended(self, seconds: float, failed: bool) -> None:
        """Count a request that was answered, or refused, after so long."""
        self._last = time.time_ns() // 1_000_000
        (self._fail if failed else self._success).add(seconds)

    def message(self, name: str, version: str) -> pb.ModelStatistics:
        """Return everything as it goes over the wire."""
        return pb.ModelStatistics(
            name=name,
            version=version,
            last_inference=self._last,
            inference_count=self._images,
            execution_count=self._runs,
            inference_stats=pb.InferStatistics(
                success=self._success.message(),
                fail=self._fail.message(),
                queue=self._queue.message(),
                compute_input=self._input.message(),
                compute_infer=self._infer.message(),
                compute_output=self._output.message(),
            ),
            batch_stats=[
                pb.InferBatchStatistics(batch_size=size, compute_infer=runs.message())
                for size, runs in sorted(self._batches.items())
            ],
        )
