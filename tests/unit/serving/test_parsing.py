"""Messages that are not protobuf, to each kind of method."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from guard.serving.parsing import Parsing
from guard.serving.protocol.inference_pb2 import ModelReadyRequest as Name

WHOLE = Name(name="a").SerializeToString()
CUT = WHOLE[:-1]


async def _echo(request: Name, context: Any) -> Name:
    return request


async def _twice(request: Name, context: Any) -> AsyncIterator[Name]:
    yield request
    yield request


async def _each(requests: AsyncIterator[Name], context: Any) -> AsyncIterator[Name]:
    async for request in requests:
        yield request


HANDLERS = {
    "Echo": grpc.unary_unary_rpc_method_handler(_echo, Name.FromString, Name.SerializeToString),
    "Twice": grpc.unary_stream_rpc_method_handler(_twice, Name.FromString, Name.SerializeToString),
    "Each": grpc.stream_stream_rpc_method_handler(_each, Name.FromString, Name.SerializeToString),
}


async def ask(method: str, *messages: bytes) -> tuple[list[bytes], grpc.StatusCode, int]:
    """Return the answers, the status, and how many refusals were told of."""
    refusals: list[None] = []
    server = grpc.aio.server()
    Parsing(server, lambda: refusals.append(None)).add_registered_method_handlers(
        "test.Names", HANDLERS
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    answers: list[bytes] = []
    status = grpc.StatusCode.OK
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            if method == "Echo":
                answers.append(await channel.unary_unary(f"/test.Names/{method}")(messages[0]))
            else:
                stream = method == "Each"
                open_ = channel.stream_stream if stream else channel.unary_stream
                call = open_(f"/test.Names/{method}")(iter(messages) if stream else messages[0])
                async for answer in call:
                    answers.append(answer)
        except grpc.aio.AioRpcError as error:
            status = error.code()
    await server.stop(None)
    return answers, status, len(refusals)


@pytest.mark.parametrize(
    ("method", "messages", "answers"),
    [("Echo", [WHOLE], 1), ("Twice", [WHOLE], 2), ("Each", [WHOLE] * 3, 3)],
)
def test_what_parses_is_answered(method: str, messages: list[bytes], answers: int) -> None:
    expected = ([WHOLE] * answers, grpc.StatusCode.OK, 0)
    assert asyncio.run(ask(method, *messages)) == expected


@pytest.mark.parametrize(
    ("method", "messages", "answers"),
    [("Echo", [CUT], 0), ("Twice", [CUT], 0), ("Each", [CUT], 0), ("Each", [WHOLE, CUT, WHOLE], 1)],
)
def test_what_does_not_is_the_callers_mistake(
    method: str, messages: list[bytes], answers: int
) -> None:
    expected = ([WHOLE] * answers, grpc.StatusCode.INVALID_ARGUMENT, 1)
    assert asyncio.run(ask(method, *messages)) == expected
