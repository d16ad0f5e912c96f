"""What waits together runs together; what is idle, expired or cancelled never waits or runs."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from guard.serving.batches import Batch, Request
from guard.serving.batching import Batcher
from guard.serving.instance import SLOTS
from guard.serving.metrics import Metrics
from guard.serving.model_settings import Batching
from guard.serving.rejections import Expired, Overloaded, Rejection, Stopping, Unready
from guard.serving.verdict import VERDICTS, Outputs, judge

OUTAGE = 0.05


class Worker:
    """Holds batches until it is told to run the first. An image's score is its mean."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher, self.held = batcher, deque[Batch]()
        self.runs: list[tuple[NDArray[np.float32], float]] = []
        self.alive = True

    @property
    def room(self) -> int:
        return SLOTS - len(self.held) if self.alive else 0

    @property
    def idle(self) -> bool:
        return self.alive and not self.held

    def run(self, batch: Batch) -> None:
        self.held.append(batch)

    def finish(self) -> None:
        batch = self.held.popleft()
        images = np.empty(batch.shape, np.float32)
        batch.fill(images)
        self.runs.append((images, batch.threshold))
        score = images.mean(axis=(1, 2, 3))
        one = np.ones((len(images), 1), np.float32)
        label = np.zeros(len(images), np.int64)
        outputs = Outputs(one, label, one, score, score, score <= np.float32(batch.threshold))
        self._batcher.done(batch, judge(outputs, batch.threshold))
        self._batcher.changed()

    def finish_all(self) -> None:
        while self.held:
            self.finish()

    def raise_error(self) -> None:
        self._batcher.failed(self.held.popleft(), "the run failed")
        self._batcher.changed()

    def die(self) -> None:
        self.alive = False
        held, self.held = self.held, deque()
        self._batcher.killed(held.popleft(), "the worker ended")
        for batch in held:
            self._batcher.returned(batch)
        self._batcher.changed()

    def revive(self) -> None:
        self.alive = True
        self._batcher.changed()

    @property
    def sizes(self) -> list[int]:
        return [len(images) for images, _ in self.runs]


Case = Callable[[Batcher, Worker], Awaitable[None]]


def play(case: Case, **limits: object) -> Worker:
    """Run a case in an event loop, with one worker."""

    async def run() -> Worker:
        settings = {"max_batch": 4, "queue": 6, "patience": 60} | limits
        batcher = Batcher(Batching(**settings), OUTAGE, widths=(1, 1))
        worker = Worker(batcher)
        batcher.attach([worker], Metrics().of_model("tiny", "1", "f", "cpu"))
        await case(batcher, worker)
        return worker

    return asyncio.run(run())


def images(*levels: float, size: int = 2, kind: type = np.float32) -> NDArray[np.generic]:
    return np.stack([np.full((1, size, size), level, kind) for level in levels])


def scores(request: Request) -> list[float]:
    return [round(score, 3) for score in request.answer.result().outputs.score.tolist()]


def test_an_idle_worker_takes_a_request_at_once() -> None:
    async def case(batcher: Batcher, worker: Worker) -> None:
        request = batcher.submit(images(0.25), 0.5)
        assert len(worker.held) == 1
        worker.finish()
        assert scores(request) == [0.25]

    play(case)


def test_waiting_requests_share_a_run_and_each_gets_its_own() -> None:
    async def case(batcher: Batcher, worker: Worker) -> None:
        batcher.submit(images(0.0), 0.5)
        given = (images(0.125), images(0.25, 0.75), images(1.0))
        requests = [batcher.submit(one, 0.5) for one in given]
        worker.finish_all()
        assert [scores(request) for request in requests] == [[0.125], [0.25, 0.75], [1.0]]

    assert play(case).sizes == [1, 4]


def test_a_busy_worker_gets_its_next_run_early_only_when_that_is_full() -> None:
    async def case(batcher: Batcher, worker: Worker) -> None:
        batcher.submit(images(0.0), 0.5)
        batcher.submit(images(0.1, 0.1, 0.1), 0.5)
        assert len(worker.held) == 1
        batcher.submit(images(0.2), 0.5)
        assert [len(batch) for batch in worker.held] == [1, 4]

    play(case)


def test_a_batch_stops_at_its_limit_and_none_overtakes() -> None:
    async def case(batcher: Batcher, worker: Worker) -> None:
        batcher.submit(images(0.0), 0.5)
        for levels in ([0.1, 0.1, 0.1], [0.2, 0.2], [0.3]):
            batcher.submit(images(*levels), 0.5)
        worker.finish_all()

    # The lone image of the last request would have fitted into the second run.
    assert play(case).sizes == [1, 3, 3]


def test_sizes_and_thresholds_run_apart() -> None:
    async def case(batcher: Batcher, worker: Worker) -> None:
        batcher.submit(images(0.0), 0.5)
        kinds = [(2, 0.5), (3, 0.5), (2, 0.9), (2, 0.5), (3, 0.5)]
        requests = [batcher.submit(images(0.7, size=size), limit) for size, limit in kinds]
        worker.finish_all()
        verdicts = [bool(request.answer.result().outputs.valid[0]) for request in requests]
        assert verdicts == [False, False, True, False, False]

    assert [(given.shape, limit) for given, limit in play(case).runs[1:]] == [
        ((2, 1, 2, 2), 0.5),
        ((2, 1, 3, 3), 0.5),
        ((1, 1, 2, 2), 0.9),
    ]


@pytest.mark.parametrize(
    ("patience", "order"), [(60, [0.0, 0.1, 0.4, 0.3, 0.2]), (0, [0.0, 0.1, 0.2, 0.3, 0.4])]
)
def test_higher_priorities_go_first_unless_others_starve(
    patience: float, order: list[float]
) -> None:
    async def case(batcher: Batcher, worker: Worker) -> None:
        batcher.submit(images(0.0), 0.5)
        for level, priority in ((0.1, -1), (0.2, -1), (0.3, 0), (0.4, 7)):
            batcher.submit(images(level), 0.5, priority=priority)
        worker.finish_all()

    # The second run was full when nothing else waited, and was given ahead of time.
    worker = play(case, max_batch=1, patience=patience)
    assert [float(given.max().round(3)) for given, _ in worker.runs] == pytest.approx(order)


def test_the_largest_preferred_size_that_can_be_filled_is_taken() -> None:
    async def case(batcher: Batcher, worker: Worker) -> None:
        batcher.submit(images(0.0), 0.5)
        for _ in range(11):
            batcher.submit(images(0.1), 0.5)
        worker.finish_all()

    assert play(case, max_batch=16, queue=20, preferred=[2, 4]).sizes == [1, 4, 4, 2, 1]


def test_bytes_of_a_run_are_bounded_but_a_request_runs_whole() -> None:
    side = 512  # a megabyte as float32

    async def case(batcher: Batcher, worker: Worker) -> None:
        batcher.submit(images(0.0), 0.5)
        for levels in ([0.1], [0.1], [0.1], [0.2] * 3):
            batcher.submit(images(*levels, size=side, kind=np.float16), 0.5)
        worker.finish_all()

    assert play(case, batch_bytes=2 << 20).sizes == [1, 2, 1, 3]


def test_an_idle_worker_waits_for_company_only_as_long_as_it_is_told() -> None:
    async def case(batcher: Batcher, worker: Worker) -> None:
        alone = batcher.submit(images(0.1), 0.5)
        assert worker.idle
        batcher.submit(images(0.2), 0.5)
        assert [len(batch) for batch in worker.held] == [2]  # a preferred size
        worker.finish()
        assert alone.answer.done()
        begin = time.monotonic()
        batcher.submit(images(0.3), 0.5)
        while worker.idle:
            await asyncio.sleep(0.001)
        assert time.monotonic() - begin > 0.045

    play(case, preferred=[2, 4], delay=0.05)


def test_an_expired_request_is_never_run_and_told_at_once() -> None:
    async def case(batcher: Batcher, worker: Worker) -> None:
        batcher.submit(images(0.0), 0.5)
        expired = batcher.submit(images(0.3), 0.5, deadline=time.monotonic() + 0.01)
        alive = batcher.submit(images(0.4), 0.5, deadline=time.monotonic() + 3600)
        with pytest.raises(Expired):
            await asyncio.wait_for(expired.answer, 5)  # the worker is busy still
        worker.finish_all()
        assert scores(alive) == [0.4]
        late = batcher.submit(images(0.5), 0.5, deadline=time.monotonic() - 1)
        assert isinstance(late.answer.exception(), Expired)

    assert play(case).sizes == [1, 1]


def test_a_dropped_request_is_never_run_and_frees_its_room() -> None:
    async def case(batcher: Batcher, worker: Worker) -> None:
        batcher.submit(images(0.0), 0.5)
        dropped, kept = batcher.submit(images(*[0.3] * 3), 0.5), batcher.submit(images(0.4), 0.5)
        batcher.drop(dropped)
        batcher.submit(images(*[0.5] * 3), 0.5)
        worker.finish_all()
        assert scores(kept) == [0.4]
        assert dropped.answer.cancelled()

    assert play(case, max_batch=5, queue=4).sizes == [1, 4]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({}, "6 of at most 6 images wait"),
        ({"queue": 99, "queue_bytes": 1 << 20}, "bytes of images"),
    ],
)
def test_a_full_queue_refuses_at_once_and_recovers(limits: dict[str, object], message: str) -> None:
    async def case(batcher: Batcher, worker: Worker) -> None:
        batcher.submit(images(0.0), 0.5)
        size = 2 if not limits else 512
        held = [batcher.submit(images(0.1, 0.2, size=size, kind=np.uint8), 0.5) for _ in range(2)]
        held += [batcher.submit(images(0.1, 0.2, size=size + 1), 0.5)] if not limits else []
        with pytest.raises(Overloaded, match=message):
            batcher.submit(images(0.3, size=size), 0.5)
        worker.finish_all()
        assert all(request.answer.done() for request in held)
        batcher.submit(images(0.3), 0.5)

    # No run is large enough to be given ahead of time.
    play(case, **{"max_batch": 5} | limits)


def test_what_is_sent_narrow_is_run_as_float32() -> None:
    async def case(batcher: Batcher, worker: Worker) -> None:
        batcher.submit(images(0.0), 0.5)
        batcher.submit(np.arange(4, dtype=np.uint8).reshape(1, 1, 2, 2) * 85, 0.5)
        batcher.submit(images(0.1, kind=np.float16), 0.5)
        worker.finish_all()

    (bytes_, halves) = play(case).runs[1][0]
    np.testing.assert_array_equal(bytes_.ravel(), np.float32([0, 1 / 3, 2 / 3, 1]))
    assert (halves == np.float32(np.float16(0.1))).all()


def test_closing_answers_what_waits_and_takes_no_more() -> None:
    async def case(batcher: Batcher, worker: Worker) -> None:
        batcher.submit(images(0.1), 0.5)
        waiting = batcher.submit(images(0.3), 0.5)
        closing = asyncio.create_task(batcher.close(5.0))
        await asyncio.sleep(0)
        with pytest.raises(Stopping):
            batcher.submit(images(0.3), 0.5)
        worker.finish_all()
        await closing
        assert scores(waiting) == [0.3]

    play(case)


def test_what_is_not_done_in_time_is_told_so() -> None:
    async def case(batcher: Batcher, worker: Worker) -> None:
        requests = [batcher.submit(images(0.1), 0.5) for _ in range(2)]
        await batcher.close(0.01)
        for request in requests:
            assert isinstance(request.answer.exception(), Stopping)

    play(case)


def test_a_run_that_fails_is_repeated_image_by_image() -> None:
    async def case(batcher: Batcher, worker: Worker) -> None:
        batcher.submit(images(0.0), 0.5)
        requests = [batcher.submit(images(*levels), 0.5) for levels in ([0.1, 0.2], [0.3])]
        worker.finish()
        worker.raise_error()
        worker.finish()
        worker.raise_error()
        worker.finish()
        both, third = (request.answer.result() for request in requests)
        assert [VERDICTS[code] for code in both.verdict] == ["VALID", "UNVERIFIED"]
        assert (both.reason(0), both.reason(1)) == ("", "the run failed")
        assert both.outputs.score[0] == np.float32(0.1)
        assert VERDICTS[third.verdict[0]] == "VALID"

    assert play(case).sizes == [1, 1, 1]


def test_a_batch_that_kills_is_run_again_then_image_by_image() -> None:
    async def case(batcher: Batcher, worker: Worker) -> None:
        batcher.submit(images(0.0), 0.5)
        requests = [batcher.submit(images(*levels), 0.5) for levels in ([0.1, 0.2], [0.3])]
        worker.finish()
        for _ in range(2):
            assert [len(batch) for batch in worker.held] == [3]
            worker.die()
            worker.revive()
        worker.finish()
        worker.die()
        worker.revive()
        worker.finish()
        both, third = (request.answer.result() for request in requests)
        assert [VERDICTS[code] for code in both.verdict] == ["VALID", "UNVERIFIED"]
        assert both.reason(1) == "the worker ended"
        assert VERDICTS[third.verdict[0]] == "VALID"

    play(case)


def test_what_was_given_ahead_is_not_blamed_for_a_worker_that_ends() -> None:
    async def case(batcher: Batcher, worker: Worker) -> None:
        first = batcher.submit(images(0.0), 0.5)
        ahead = batcher.submit(images(*[0.1] * 4), 0.5)
        worker.die()
        worker.revive()
        worker.finish_all()
        assert scores(first) == [0.0]
        assert scores(ahead) == [0.1] * 4
        assert all(batch.tries == 0 for batch in worker.held)

    assert sorted(play(case).sizes) == [1, 4]


def test_requests_outlast_a_short_outage_and_are_refused_in_a_long_one() -> None:
    async def case(batcher: Batcher, worker: Worker) -> None:
        held = batcher.submit(images(0.0), 0.5)
        worker.die()
        waiting = batcher.submit(images(0.1), 0.5)
        for request in (held, waiting):
            with pytest.raises(Unready):
                await asyncio.wait_for(request.answer, 5)
        with pytest.raises(Rejection, match="no worker"):
            batcher.submit(images(0.2), 0.5)
        worker.revive()
        again = batcher.submit(images(0.2), 0.5)
        worker.finish_all()
        assert scores(again) == [0.2]

    play(case)
