"""What becomes of requests when runs fail, workers end, or the batcher is closed."""

import asyncio

import numpy as np
import pytest

from guard.serving.batching import Batcher
from guard.serving.rejections import Rejection, Stopping, Unready
from guard.serving.verdict import VERDICTS
from tests.unit.serving.held_worker import Worker, images, play, scores


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
