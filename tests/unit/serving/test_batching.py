"""What waits together runs together; what is idle, expired or cancelled never waits or runs."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from guard.serving.batching import Batcher
from guard.serving.config import Batching
from guard.serving.rejections import Expired, Overloaded, Stopping
from guard.serving.verdict import Judged, Outputs, judge

WAIT = 30.0


class GatedModel:
    """Runs when the gate is open, and remembers what it was given. An image's score is its mean."""

    def __init__(self) -> None:
        self.gate, self.started = threading.Event(), threading.Event()
        self.runs: list[tuple[NDArray[np.float32], float]] = []
        self.error: Exception | None = None

    def __call__(self, images: NDArray[np.float32], threshold: float) -> Judged:
        self.runs.append((images, threshold))
        self.started.set()
        assert self.gate.wait(WAIT)
        if self.error:
            raise self.error
        score = images.mean(axis=(1, 2, 3))
        one = np.ones((len(images), 1), np.float32)
        label = np.zeros(len(images), np.int64)
        return judge(Outputs(one, label, one, score, score, score <= threshold), threshold)


@pytest.fixture
def model() -> GatedModel:
    return GatedModel()


@pytest.fixture
def batcher(model: GatedModel) -> Iterator[Batcher]:
    batcher = Batcher(model, Batching(max_batch=4, queue=6), queued=lambda seconds: None)
    yield batcher
    model.gate.set()
    batcher.close()


def images(*levels: float, size: int = 2) -> NDArray[np.float32]:
    return np.stack([np.full((1, size, size), level, np.float32) for level in levels])


def busy(model: GatedModel, batcher: Batcher) -> None:
    """Hold the model in a first run, so that what follows must queue."""
    batcher.submit(images(0.0), 0.5)
    assert model.started.wait(WAIT)


def sizes(model: GatedModel) -> list[int]:
    return [len(given) for given, _ in model.runs]


def test_a_single_request_runs_at_once_and_uncopied(model: GatedModel, batcher: Batcher) -> None:
    model.gate.set()
    alone = images(0.25)
    judged = batcher.submit(alone, 0.5).result(WAIT)
    assert model.runs[0][0] is alone
    assert judged.outputs.score.tolist() == [0.25]


def test_waiting_requests_share_a_run_and_each_gets_its_own(
    model: GatedModel, batcher: Batcher
) -> None:
    busy(model, batcher)
    answers = [
        batcher.submit(given, 0.5) for given in (images(0.125), images(0.25, 0.75), images(1.0))
    ]
    model.gate.set()
    scores = [answer.result(WAIT).outputs.score.tolist() for answer in answers]
    assert scores == [[0.125], [0.25, 0.75], [1.0]]
    assert sizes(model) == [1, 4]


def test_a_batch_stops_at_its_limit_and_none_overtakes(model: GatedModel, batcher: Batcher) -> None:
    busy(model, batcher)
    answers = [
        batcher.submit(images(*levels), 0.5) for levels in ([0.1, 0.1, 0.1], [0.2, 0.2], [0.3])
    ]
    model.gate.set()
    for answer in answers:
        answer.result(WAIT)
    assert sizes(model) == [1, 3, 3]  # the lone third image would have fitted into the first


def test_sizes_and_thresholds_run_apart(model: GatedModel, batcher: Batcher) -> None:
    busy(model, batcher)
    kinds = [(2, 0.5), (3, 0.5), (2, 0.9), (2, 0.5), (3, 0.5)]
    answers = [batcher.submit(images(0.7, size=size), limit) for size, limit in kinds]
    model.gate.set()
    verdicts = [bool(answer.result(WAIT).outputs.valid[0]) for answer in answers]
    assert verdicts == [False, False, True, False, False]
    assert [(given.shape, limit) for given, limit in model.runs[1:]] == [
        ((2, 1, 2, 2), 0.5),
        ((2, 1, 3, 3), 0.5),
        ((1, 1, 2, 2), 0.9),
    ]


def test_an_expired_request_is_never_run(model: GatedModel, batcher: Batcher) -> None:
    busy(model, batcher)
    expired = batcher.submit(images(0.3), 0.5, deadline=time.monotonic() - 1)
    alive = batcher.submit(images(0.4), 0.5, deadline=time.monotonic() + 3600)
    model.gate.set()
    assert alive.result(WAIT).outputs.score == pytest.approx([0.4])
    with pytest.raises(Expired):
        expired.result(WAIT)
    assert sizes(model) == [1, 1]


def test_a_cancelled_request_is_never_run(model: GatedModel, batcher: Batcher) -> None:
    busy(model, batcher)
    dropped, kept = batcher.submit(images(0.3), 0.5), batcher.submit(images(0.4), 0.5)
    assert dropped.cancel()
    model.gate.set()
    assert kept.result(WAIT).outputs.score == pytest.approx([0.4])
    assert sizes(model) == [1, 1]


def test_a_full_queue_refuses_at_once_and_recovers(model: GatedModel, batcher: Batcher) -> None:
    busy(model, batcher)
    waiting = [batcher.submit(images(0.1, 0.2), 0.5) for _ in range(3)]
    with pytest.raises(Overloaded, match="6 of at most 6 images wait"):
        batcher.submit(images(0.3), 0.5)
    model.gate.set()
    for answer in waiting:
        answer.result(WAIT)
    assert batcher.submit(images(0.3), 0.5).result(WAIT).outputs.score == pytest.approx([0.3])


def test_closing_answers_what_waits_and_takes_no_more(model: GatedModel, batcher: Batcher) -> None:
    busy(model, batcher)
    waiting = batcher.submit(images(0.3), 0.5)
    model.gate.set()
    batcher.close()
    assert waiting.done()
    with pytest.raises(Stopping):
        batcher.submit(images(0.3), 0.5)


def test_an_error_reaches_every_caller_and_the_worker_lives_on(
    model: GatedModel, batcher: Batcher
) -> None:
    busy(model, batcher)
    answers = [batcher.submit(images(0.3), 0.5) for _ in range(2)]
    model.error = RuntimeError("broken")
    model.gate.set()
    for answer in answers:
        with pytest.raises(RuntimeError, match="broken"):
            answer.result(WAIT)
    model.error = None
    assert batcher.submit(images(0.3), 0.5).result(WAIT)


def test_many_threads_are_each_answered_once_with_their_own(
    model: GatedModel, batcher: Batcher
) -> None:
    model.gate.set()
    wrong: list[float] = []

    def call(level: float) -> None:
        for _ in range(50):
            try:
                score = batcher.submit(images(level), 2.0).result(WAIT).outputs.score[0]
            except Overloaded:
                continue
            if score != np.float32(level):
                wrong.append(level)

    callers = [threading.Thread(target=call, args=(index / 8,)) for index in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(WAIT)
    assert wrong == []
    assert max(sizes(model)) <= 4
