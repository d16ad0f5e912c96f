"""The door that calls pass, in front of handlers that a test holds: limits, hints, and the end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status

from guard.serving.admission import Admission
from guard.serving.config import Limits, ServeSettings
from guard.serving.metrics import Metrics

PATIENCE = 20
Channel = grpc.aio.Channel


class Held:
    """Handlers that answer when they are let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.entered = asyncio.Semaphore(0)

    async def wait(self, request: bytes, context: Any) -> bytes:
        self.entered.release()
        await self.go.wait()
        return request

    async def echo(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            self.entered.release()
            await self.go.wait()
            yield request

    async def tick(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield request
        await asyncio.Event().wait()

    async def fail(self, request: bytes, context: Any) -> bytes:
        raise ValueError("a handler's own mistake")


@asynccontextmanager
async def served(
    limits: Limits, full: Callable[[], str] = str
) -> AsyncIterator[tuple[Held, Admission, Metrics, Channel]]:
    held, metrics = Held(), Metrics()
    admission = Admission(ServeSettings(limits=limits), metrics, full=full)
    admission.add_registered_method_handlers(
        "a.B",
        {
            "Wait": grpc.unary_unary_rpc_method_handler(held.wait),
            "Echo": grpc.stream_stream_rpc_method_handler(held.echo),
            "Tick": grpc.unary_stream_rpc_method_handler(held.tick),
            "Fail": grpc.unary_unary_rpc_method_handler(held.fail),
        },
    )
    check = grpc.unary_unary_rpc_method_handler(held.wait)
    admission.add_registered_method_handlers("guard.v1.GuardService", {"Check": check})
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((admission,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield held, admission, metrics, channel
    await server.stop(None)


def asynchronous(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    def run(**arguments: Any) -> None:
        asyncio.run(asyncio.wait_for(test(**arguments), PATIENCE))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def hint_of(error: grpc.aio.AioRpcError) -> tuple[float, float]:
    """Return the seconds to wait, as gRPC's own retries and as other libraries read them."""
    trailing = dict(error.trailing_metadata())
    status = rpc_status.from_call(_Call(error))
    retry = RetryInfo()
    assert status.details[0].Unpack(retry)
    assert status.message == error.details()
    return int(trailing["grpc-retry-pushback-ms"]) / 1000, retry.retry_delay.ToNanoseconds() / 1e9


class _Call:
    """What `rpc_status` reads, which it cannot of asyncio's errors."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code, self.details = error.code, error.details
        self._metadata = tuple(error.trailing_metadata())

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self._metadata


async def refused(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


@asynchronous
async def test_requests_over_the_number_in_hand_are_refused_with_a_hint() -> None:
    async with served(Limits(in_flight=2)) as (held, _, metrics, channel):
        wait = channel.unary_unary("/a.B/Wait")
        taken = [asyncio.ensure_future(wait(b"1")), asyncio.ensure_future(wait(b"2"))]
        for _ in taken:
            await held.entered.acquire()
        assert b"cornerguard_in_flight 2.0" in metrics.exposition()
        error = await refused(wait(b"3", metadata=(("x-request-id", "third"),)))
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "2 requests are in hand" in str(error.details())
        assert hint_of(error) == (0.01, 0.01)
        assert dict(error.trailing_metadata())["x-request-id"] == "third"
        held.go.set()
        assert await asyncio.gather(*taken) == [b"1", b"2"]
        assert await wait(b"4") == b"4"
        assert b'rejected_total{reason="resource_exhausted"} 1.0' in metrics.exposition()


@asynchronous
async def test_what_no_model_has_room_for_is_refused_before_its_message() -> None:
    async def silence() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    full = "256 of at most 256 images wait"
    async with served(Limits(), lambda: full) as (held, _, metrics, channel):
        held.go.set()
        # No message is ever sent, so that none can have been awaited.
        call = channel.stream_unary("/guard.v1.GuardService/Check")(silence())
        error = await refused(call)
        assert (error.code(), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, full)
        assert hint_of(error) == (0.01, 0.01)
        assert b'rejected_total{reason="resource_exhausted"} 1.0' in metrics.exposition()
        assert await channel.unary_unary("/a.B/Wait")(b"no image") == b"no image"
        full = ""
        assert await channel.unary_unary("/guard.v1.GuardService/Check")(b"1") == b"1"


@asynchronous
async def test_the_hint_grows_with_the_time_that_requests_take() -> None:
    async with served(Limits(in_flight=1)) as (held, _, metrics, channel):
        for _ in range(200):
            metrics.pace.answered(2.0)
        wait = channel.unary_unary("/a.B/Wait")
        taken = asyncio.ensure_future(wait(b""))
        await held.entered.acquire()
        assert hint_of(await refused(wait(b""))) == pytest.approx((2.0, 2.0), abs=1e-3)
        held.go.set()
        await taken


@asynchronous
async def test_a_client_over_its_rate_is_told_when_the_next_is_taken() -> None:
    limits = Limits(requests_per_second=0.5, burst=2)
    async with served(limits) as (held, _, _, channel):
        held.go.set()
        wait = channel.unary_unary("/a.B/Wait")
        assert [await wait(b"1"), await wait(b"2")] == [b"1", b"2"]
        pushback, delay = hint_of(await refused(wait(b"3")))
        assert 0 < delay <= 2.0
        assert pushback == pytest.approx(delay, abs=1e-3)


@asynchronous
async def test_the_messages_of_a_stream_over_the_rate_wait() -> None:
    async with served(Limits(requests_per_second=20, burst=1)) as (held, _, _, channel):
        held.go.set()

        async def send() -> AsyncIterator[bytes]:
            for number in range(5):
                yield bytes([number])

        start = asyncio.get_running_loop().time()
        answers = [answer async for answer in channel.stream_stream("/a.B/Echo")(send())]
        assert answers == [bytes([number]) for number in range(5)]
        assert asyncio.get_running_loop().time() - start >= 4 / 20 - 0.01


@asynchronous
async def test_the_end_waits_for_what_was_taken_and_refuses_the_rest() -> None:
    async with served(Limits()) as (held, admission, _, channel):
        wait = channel.unary_unary("/a.B/Wait")
        taken = asyncio.ensure_future(wait(b"1"))
        await held.entered.acquire()
        closing = asyncio.ensure_future(admission.close(PATIENCE))
        error = await refused(wait(b"2"))
        assert (error.code(), error.details()) == (
            grpc.StatusCode.UNAVAILABLE,
            "the server is stopping",
        )
        assert not closing.done()
        held.go.set()
        assert await taken == b"1"
        await closing


@asynchronous
async def test_the_end_does_not_wait_for_longer_than_it_may() -> None:
    async with served(Limits()) as (held, admission, _, channel):
        taken = asyncio.ensure_future(channel.unary_unary("/a.B/Wait")(b"1"))
        await held.entered.acquire()
        await admission.close(0.05)
        assert not taken.done()
        held.go.set()
        assert await taken == b"1"


@asynchronous
async def test_a_stream_ends_between_two_messages_with_every_taken_one_answered() -> None:
    async with served(Limits()) as (held, admission, _, channel):
        stream = channel.stream_stream("/a.B/Echo")()
        await stream.write(b"1")
        await held.entered.acquire()  # taken, and not yet answered
        closing = asyncio.ensure_future(admission.close(PATIENCE))
        await asyncio.sleep(0)
        held.go.set()
        assert await stream.read() == b"1"
        assert (await refused(stream.read())).code() == grpc.StatusCode.UNAVAILABLE
        await closing


@pytest.mark.parametrize("kind", ["stream_stream", "unary_stream"])
def test_an_idle_stream_does_not_hold_up_the_end(kind: str) -> None:
    @asynchronous
    async def run() -> None:
        async with served(Limits()) as (held, admission, _, channel):
            held.go.set()
            if kind == "stream_stream":
                stream = channel.stream_stream("/a.B/Echo")()
                await stream.write(b"1")
            else:
                stream = channel.unary_stream("/a.B/Tick")(b"1")
            assert await stream.read() == b"1"
            await admission.close(PATIENCE)
            assert (await refused(stream.read())).code() == grpc.StatusCode.UNAVAILABLE

    run()


@asynchronous
async def test_a_client_that_vanishes_leaves_nothing_in_hand() -> None:
    async with served(Limits(in_flight=1)) as (held, admission, _, channel):
        taken = channel.unary_unary("/a.B/Wait")(b"1")
        await held.entered.acquire()
        taken.cancel()
        stream = channel.stream_stream("/a.B/Echo")()
        stream.cancel()
        # It returns sooner than asked only when nothing is in hand any more.
        await asyncio.wait_for(admission.close(10 * PATIENCE), PATIENCE)


@pytest.mark.filterwarnings("ignore")
@asynchronous
async def test_a_handler_that_fails_leaves_nothing_in_hand() -> None:
    async with served(Limits(in_flight=1)) as (held, _, _, channel):
        held.go.set()
        assert (await refused(channel.unary_unary("/a.B/Fail")(b""))).code() is not None
        assert await channel.unary_unary("/a.B/Wait")(b"1") == b"1"
        assert (await refused(channel.unary_unary("/a.B/None")(b""))).code() == (
            grpc.StatusCode.UNIMPLEMENTED
        )
