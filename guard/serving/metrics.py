"""What Prometheus can ask of the server."""

from collections import Counter as Counts

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from guard.serving.histograms import BatchHistogram
from guard.serving.retry_hints import Pace
from guard.serving.statistics import Statistics
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
    """The server's metrics, in a registry of their own; every label takes few values.

    Attributes:
        pace: how long requests take lately, for hints when to try again.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.ready = Gauge(
            "cornerguard_ready", "1 while requests are welcome.", registry=self.registry
        )
        self.in_flight = Gauge(
            "cornerguard_in_flight", "Requests and streams in hand.", registry=self.registry
        )
        self.pace = Pace()
        self.rejected = Counter(
            "cornerguard_rejected",
            "Requests and frames that were not judged, by gRPC status.",
            ["reason"],
            registry=self.registry,
        )
        self.reloads = Counter(
            "cornerguard_reloads",
            "Bundles that were to be loaded: loaded, unchanged, or failed (the old one serves on).",
            ["model", "outcome"],
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
        self._announced: dict[tuple[str, str], tuple[str, str, str, str]] = {}
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
        self.withdraw(model, fingerprint)
        self._announced[model, fingerprint] = model, version, fingerprint, device
        self._info.labels(model, version, fingerprint, device).set(1)
        return ModelMetrics(self, model)

    def withdraw(self, model: str, fingerprint: str) -> None:
        """Announce a bundle no longer; without this, every reload would leave a series behind."""
        if labels := self._announced.pop((model, fingerprint), None):
            self._info.remove(*labels)

    def exposition(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_text: str) -> Counter:
        labels = ["model", "verdict"]
        return Counter(f"cornerguard_{name}", help_text, labels, registry=self.registry)

    def _histogram(self, name: str, help_text: str, bounds: tuple[float, ...]) -> BatchHistogram:
        return BatchHistogram(f"cornerguard_{name}", help_text, bounds, self.registry)


class ModelMetrics:
    """The metrics of one model, with the label's look-up done once."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        own, self.statistics = metrics, Statistics()
        self._model = model
        self._requests = [own._requests.labels(model, verdict) for verdict in VERDICTS]
        self._images = [own._images.labels(model, verdict) for verdict in VERDICTS]
        self._queue, self._inference, self._batch = own._queue, own._inference, own._batch
        self._score, self._p_value = own._score, own._p_value
        for histogram in (own._queue, own._inference, own._batch, own._score, own._p_value):
            histogram.of_model(model)

    def waited(self, seconds: list[float]) -> None:
        """Count how long each request of a run had waited."""
        self._queue.observe(self._model, seconds)
        for each in seconds:
            self.statistics.waited(each)

    def ran(self, images: int, requests: int, seconds: float) -> None:
        """Count one run of the model: its images, of so many requests."""
        self.statistics.ran(images, requests, seconds)
        self._inference.observe(self._model, [seconds])
        self._batch.observe(self._model, [images])

    def judged(self, judged: Judged) -> None:
        """Count images by their verdicts."""
        counts = np.bincount(judged.verdict, minlength=len(VERDICTS)).tolist()
        for counter, count in zip(self._images, counts, strict=True):
            if count:
                counter.inc(count)
        self._score.observe(self._model, judged.outputs.score)
        self._p_value.observe(self._model, judged.outputs.p_value)

    def answered(self, requests: list[Judged]) -> None:
        """Count requests by their worst verdict: UNVERIFIED, else CORNER_CASE, else VALID."""
        worst = Counts(
            UNVERIFIED if not one.verdict.all() else one.verdict.max() for one in requests
        )
        for verdict, count in worst.items():
            self._requests[verdict].inc(count)
