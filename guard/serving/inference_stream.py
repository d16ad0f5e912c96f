"""A stream of inference requests: each answered, in their order, and few in hand at a time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

from guard.serving.metrics import Metrics
from guard.serving.protocol import inference_pb2 as pb
from guard.serving.rejections import explain

__all__ = ["answer_stream"]

Infer = Callable[[pb.ModelInferRequest], Awaitable[pb.ModelInferResponse]]
Answers = asyncio.Queue["asyncio.Task[pb.ModelStreamInferResponse] | None"]


async def answer_stream(
    requests: AsyncIterator[pb.ModelInferRequest], infer: Infer, most: int, metrics: Metrics
) -> AsyncGenerator[pb.ModelStreamInferResponse, None]:
    """Yield a response for each request, in the order of the requests.

    The requests are handled side by side. No further one is read while `most` of them are in hand
    or wait to be taken, so that a slow reader slows down its own sending, and holds little. A
    request that fails is answered by its `error_message`. When the caller goes away, what is in
    hand is cancelled.

    Args:
        requests: the stream; it ends, or fails when the caller goes away.
        infer: answers one of them.
        most: how many are in hand at most.
        metrics: where failures are counted.
    """
    answers: Answers = asyncio.Queue()
    room = asyncio.Semaphore(most)
    tasks: set[asyncio.Task[pb.ModelStreamInferResponse]] = set()

    async def read() -> None:
        try:
            while True:
                await room.acquire()
                try:
                    request = await anext(requests)
                except StopAsyncIteration:
                    return
                task = asyncio.create_task(_answer(request, infer, metrics))
                tasks.add(task)
                answers.put_nowait(task)
        finally:
            answers.put_nowait(None)

    reader = asyncio.create_task(read())
    try:
        while (task := await answers.get()) is not None:
            yield await task
            tasks.discard(task)
            room.release()
        await reader  # for what ended the stream, if it was a failure
    finally:
        for left in (reader, *tasks):
            left.cancel()
        await asyncio.gather(reader, *tasks, return_exceptions=True)


async def _answer(
    request: pb.ModelInferRequest, infer: Infer, metrics: Metrics
) -> pb.ModelStreamInferResponse:
    try:
        response = pb.ModelStreamInferResponse(infer_response=await infer(request))
    except Exception as error:
        _, message = explain(error, metrics)
        response = pb.ModelStreamInferResponse(error_message=message)
        response.infer_response.id = request.id
        response.infer_response.model_name = request.model_name
        response.infer_response.model_version = request.model_version
    response.infer_response.parameters["triton_final_response"].bool_param = True
    return response
