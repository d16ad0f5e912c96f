"""Streams: order, few requests in hand, errors inside, and a caller that goes away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import pytest

from guard.errors import BadInput
from guard.serving.inference_stream import answer_stream
from guard.serving.metrics import Metrics
from guard.serving.protocol import inference_pb2 as pb

Infer = Callable[[pb.ModelInferRequest], Awaitable[pb.ModelInferResponse]]


async def echo(request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    return pb.ModelInferResponse(id=request.id)


async def sent(*ids: str) -> AsyncIterator[pb.ModelInferRequest]:
    for id_ in ids:
        yield pb.ModelInferRequest(id=id_, model_name="m")


async def collect(
    requests: AsyncIterator[pb.ModelInferRequest], infer: Infer, most: int = 4
) -> list[pb.ModelStreamInferResponse]:
    return [one async for one in answer_stream(requests, infer, most, Metrics())]


def test_answers_come_in_the_order_of_the_requests() -> None:
    async def later_is_faster(request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        await asyncio.sleep(0.03 / int(request.id))
        return await echo(request)

    answers = asyncio.run(collect(sent("1", "2", "3"), later_is_faster))
    assert [answer.infer_response.id for answer in answers] == ["1", "2", "3"]
    assert not any(answer.error_message for answer in answers)
    finals = [answer.infer_response.parameters["triton_final_response"] for answer in answers]
    assert all(final.bool_param for final in finals)


def test_a_failed_request_ends_alone() -> None:
    async def infer(request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        if request.id == "2":
            raise BadInput("input 'images': missing")
        return await echo(request)

    answers = asyncio.run(collect(sent("1", "2", "3"), infer))
    assert [answer.error_message for answer in answers] == ["", "input 'images': missing", ""]
    assert [answer.infer_response.id for answer in answers] == ["1", "2", "3"]


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_is_read_than_may_be_in_hand(most: int) -> None:
    async def run() -> None:
        read = 0
        going = asyncio.Event()

        async def endless() -> AsyncIterator[pb.ModelInferRequest]:
            nonlocal read
            while True:
                read += 1
                yield pb.ModelInferRequest(id=str(read))

        async def infer(request: pb.ModelInferRequest) -> pb.ModelInferResponse:
            await going.wait()
            return await echo(request)

        async with aclosing(answer_stream(endless(), infer, most, Metrics())) as answers:
            first = asyncio.create_task(anext(answers))
            await asyncio.sleep(0.02)
            assert read == most
            going.set()
            await first  # taken, but its reader has not asked for the next
            await asyncio.sleep(0.02)
            assert read == most
            await anext(answers)
            await asyncio.sleep(0.02)
            assert read == most + 1

    asyncio.run(run())


def test_when_the_caller_goes_away_what_is_in_hand_is_cancelled() -> None:
    async def run() -> None:
        begun, cancelled = [], []

        async def infer(request: pb.ModelInferRequest) -> pb.ModelInferResponse:
            begun.append(request.id)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(request.id)
                raise
            return await echo(request)

        task = asyncio.create_task(collect(sent("1", "2", "3"), infer))
        await asyncio.sleep(0.02)
        assert begun == ["1", "2", "3"]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(cancelled) == begun
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_a_broken_stream_is_no_end() -> None:
    async def broken() -> AsyncIterator[pb.ModelInferRequest]:
        yield pb.ModelInferRequest(id="1")
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        asyncio.run(collect(broken(), echo))
