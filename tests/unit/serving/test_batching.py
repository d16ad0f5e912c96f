"""What waits together runs together, and what is idle never waits."""

import asyncio
import time

import numpy as np

from guard.serving.batching import Batcher
from tests.unit.serving.held_worker import Worker, images, play, scores


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


def test_what_is_sent_narrow_is_run_as_float32() -> None:
    async def case(batcher: Batcher, worker: Worker) -> None:
        batcher.submit(images(0.0), 0.5)
        batcher.submit(np.arange(4, dtype=np.uint8).reshape(1, 1, 2, 2) * 85, 0.5)
        batcher.submit(images(0.1, kind=np.float16), 0.5)
        worker.finish_all()

    (bytes_, halves) = play(case).runs[1][0]
    np.testing.assert_array_equal(bytes_.ravel(), np.float32([0, 1 / 3, 2 / 3, 1]))
    assert (halves == np.float32(np.float16(0.1))).all()
