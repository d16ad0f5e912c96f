"""What waits: the urgent first, never past its deadline, and no more than there is room for."""

import asyncio
import time

import numpy as np
import pytest

from guard.serving.batching import Batcher
from guard.serving.rejections import Expired, Overloaded
from tests.unit.serving.held_worker import Worker, images, play, scores


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
