"""What Prometheus can ask of the server."""

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from guard.serving.verdict import UNVERIFIED, VERDICTS, Judged

__all__ = ["Metrics", "ModelMetrics"]

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
BATCHES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
P_VALUES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
# Discrepancies are distances in a kernel's feature space: either sign, of any magnitude.
DISCREPANCIES = (
    -10.0,
    -5.0,
    -2.0,
    -1.0,
    -0.5,
    -0.2,
    -0.1,
    -0.05,
    0.0,
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
    2.0,
    5.0,
    10.0,
)


class Metrics:
    """The server's metrics, in a registry of their own; every label takes few values."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.ready = Gauge(
            "cornerguard_ready", "1 while requests are welcome.", registry=self.registry
        )
        self.rejected = Counter(
            "cornerguard_rejected",
            "Requests turned away without a verdict, by gRPC status.",
            ["reason"],
            registry=self.registry,
        )
        self.streams = Gauge(
            "cornerguard_streams", "Streams that are connected.", registry=self.registry
        )
        self.frames = Counter(
            "cornerguard_frames",
            "Frames of streams, by what became of them.",
            ["fate"],
            registry=self.registry,
        )
        self.alarms = Counter(
            "cornerguard_alarms",
            "Alarms of streams that were raised and cleared.",
            ["change"],
            registry=self.registry,
        )
        self._info = Gauge(
            "cornerguard_bundle_info",
            "1 for each bundle that is served.",
            ["model", "version", "fingerprint", "device"],
            registry=self.registry,
        )
        self._requests = self._counter("requests", "Requests answered, by their worst verdict.")
        self._images = self._counter("images", "Images judged, by verdict.")
        self._inference = self._histogram("inference_seconds", "Time of one run.", SECONDS)
        self._queue = self._histogram("queue_seconds", "Time that a request waited.", SECONDS)
        self._batch = self._histogram("batch_size", "Images of one run.", BATCHES)
        self._score = self._histogram(
            "joint_discrepancy", "Joint discrepancy of an image, where finite.", DISCREPANCIES
        )
        self._p_value = self._histogram(
            "p_value", "Conformal p-value of an image, where finite.", P_VALUES
        )

    def of_model(self, model: str, version: str, fingerprint: str, device: str) -> "ModelMetrics":
        """Return the metrics of one model, and announce its bundle."""
        self._info.labels(model, version, fingerprint, device).set(1)
        return ModelMetrics(self, model)

    def exposition(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_text: str) -> Counter:
        labels = ["model", "verdict"]
        return Counter(f"cornerguard_{name}", help_text, labels, registry=self.registry)

    def _histogram(self, name: str, help_text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(
            f"cornerguard_{name}", help_text, ["model"], buckets=buckets, registry=self.registry
        )


class ModelMetrics:
    """The metrics of one model, with the label's look-up done once."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        own = metrics
        self._requests = [own._requests.labels(model, verdict) for verdict in VERDICTS]
        self._images = [own._images.labels(model, verdict) for verdict in VERDICTS]
        self.queue = own._queue.labels(model)
        self._inference, self._batch = own._inference.labels(model), own._batch.labels(model)
        self._score, self._p_value = own._score.labels(model), own._p_value.labels(model)

    def ran(self, judged: Judged, seconds: float) -> None:
        """Count one run of the model."""
        self._inference.observe(seconds)
        self._batch.observe(len(judged.verdict))
        for verdict, count in enumerate(np.bincount(judged.verdict, minlength=len(VERDICTS))):
            if count:
                self._images[verdict].inc(int(count))
        for histogram, values in (
            (self._score, judged.outputs.score),
            (self._p_value, judged.outputs.p_value),
        ):
            for value in values[np.isfinite(values)].tolist():
                histogram.observe(value)

    def answered(self, judged: Judged) -> None:
        """Count one request by its worst verdict: UNVERIFIED, else CORNER_CASE, else VALID."""
        present = judged.verdict
        worst = UNVERIFIED if UNVERIFIED in present else int(present.max())
        self._requests[worst].inc()
