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
        self._compute = _three_durations()
        self._batches: dict[int, tuple[_Duration, _Duration, _Duration]] = {}

    def waited(self, seconds: float) -> None:
        """Count a request that left the queue after so long."""
        self._queue.add(seconds)

    def ran(
        self,
        images: int,
        requests: int,
        infer: float,
        assemble: float = 0.0,
        extract: float = 0.0,
    ) -> None:
        """Count one run of the model.

        Args:
            images: of the batch.
            requests: that the batch was made of.
            infer: seconds of the run itself.
            assemble: seconds in which the batch was put together.
            extract: seconds in which its outputs were taken apart.
        """
        self._images += images
        self._runs += 1
        batch = self._batches.setdefault(images, _three_durations())
        for seconds, whole, of_size in zip(
            (assemble, infer, extract), self._compute, batch, strict=True
        ):
            whole.add(seconds, requests)
            of_size.add(seconds)

    def converted(self, read: float, written: float) -> None:
        """Add the seconds in which a request's tensors were read, and its response written.

        They belong to `compute_input` and `compute_output` of the request, and to no batch.
        """
        self._compute[0].seconds += read
        self._compute[2].seconds += written

    def ended(self, seconds: float, failed: bool) -> None:
        """Count a request that was answered, or refused, after so long."""
        self._last = time.time_ns() // 1_000_000
        (self._fail if failed else self._success).add(seconds)

    def message(self, name: str, version: str) -> pb.ModelStatistics:
        """Return everything as it goes over the wire."""
        compute_input, compute_infer, compute_output = (d.message() for d in self._compute)
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
                compute_input=compute_input,
                compute_infer=compute_infer,
                compute_output=compute_output,
            ),
            batch_stats=[
                pb.InferBatchStatistics(
                    batch_size=size,
                    compute_input=of_size[0].message(),
                    compute_infer=of_size[1].message(),
                    compute_output=of_size[2].message(),
                )
                for size, of_size in sorted(self._batches.copy().items())
            ],
        )


def _three_durations() -> tuple[_Duration, _Duration, _Duration]:
    """Return the sums of compute_input, compute_infer and compute_output."""
    return _Duration(), _Duration(), _Duration()
