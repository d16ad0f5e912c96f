"""Clients that break the rules below gRPC: by hand-written HTTP/2, or by no HTTP at all."""

import asyncio
import random
import struct
from collections.abc import Awaitable, Callable

import grpc

from guard.serving.protocol import inference_pb2
from tests.benchmarks.mutations import Mutations

__all__ = ["RoughClients"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS = 1, 4
WINDOW = 4
"""The number of the setting that says how much the other side may send before it is read."""
METHOD = b"/inference.GRPCInferenceService/ModelInfer"


class RoughClients:
    """Each call opens a connection of its own, and leaves it in a bad way.

    Args:
        target: the server's address.
        request: a valid `ModelInferRequest`.
        seed: of what is drawn.
    """

    def __init__(self, target: str, request: inference_pb2.ModelInferRequest, seed: int) -> None:
        host, _, port = target.rpartition(":")
        self._host, self._port, self._target = host, int(port), target
        self._request = request
        message = request.SerializeToString()
        self._framed = b"\0" + struct.pack(">I", len(message)) + message
        self._draw = random.Random(seed)
        self._mutations = Mutations(seed, 8, 25_000_000)

    def ways(self) -> list[Callable[[], Awaitable[None]]]:
        """Return all of them."""
        return [
            self.garbage,
            self.broken_frames,
            self.half_a_request,
            self.vanish,
            self.slow_reader,
            self.odd_messages,
        ]

    async def garbage(self) -> None:
        """Send bytes that are no HTTP/2, or only begin like it."""
        noise = self._draw.randbytes(self._draw.randint(1, 20_000))
        await self._send(self._draw.choice((b"", PREFACE, b"GET / HTTP/1.1\r\n\r\n")) + noise, 0.05)

    async def broken_frames(self) -> None:
        """Send frames of odd kinds, sizes and streams."""
        frames = [_frame(SETTINGS, 0, 0, b"")]
        for _ in range(20):
            body = self._draw.randbytes(self._draw.randint(0, 64))
            kind = self._draw.choice((DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, 77))
            frames.append(
                _frame(kind, self._draw.randrange(256), self._draw.choice((0, 1, 2)), body)
            )
        await self._send(PREFACE + b"".join(frames), 0.05)

    async def half_a_request(self) -> None:
        """Send half of a request, wait, and go."""
        begun = PREFACE + _frame(SETTINGS, 0, 0, b"") + self._headers()
        half = self._framed[: len(self._framed) // 2]
        await self._send(begun + _frame(DATA, 0, 1, half[:16_000]), 1.0)

    async def vanish(self) -> None:
        """Send requests, and go before they are answered."""
        await self._send(self._requests(2**31 - 1), 0.003)

    async def slow_reader(self) -> None:
        """Send requests, and leave no room for the answers."""
        await self._send(self._requests(0), 5.0)

    async def odd_messages(self) -> None:
        """Send messages that are cut or changed through gRPC itself."""
        async with grpc.aio.insecure_channel(self._target) as channel:
            ask = channel.unary_unary(METHOD.decode())
            for _ in range(20):
                try:
                    await ask(self._mutations.request(self._request), timeout=10)
                except grpc.aio.AioRpcError:
                    continue

    def _requests(self, window: int) -> bytes:
        settings = _frame(SETTINGS, 0, 0, struct.pack(">HI", WINDOW, window))
        sent = PREFACE + settings
        for stream in (1, 3, 5):
            sent += self._headers(stream)
            for at in range(0, len(self._framed), 16_000):
                part = self._framed[at : at + 16_000]
                last = at + 16_000 >= len(self._framed)
                sent += _frame(DATA, END_STREAM if last else 0, stream, part)
        return sent

    def _headers(self, stream: int = 1) -> bytes:
        fields = (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", METHOD),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        )
        # Literal fields that are not indexed: RFC 7541, section 6.2.2.
        coded = (b"\0" + bytes([len(n)]) + n + bytes([len(v)]) + v for n, v in fields)
        return _frame(HEADERS, END_HEADERS, stream, b"".join(coded))

    async def _send(self, data: bytes, seconds: float) -> None:
        """Send bytes, read nothing, stay so long, and cut the connection."""
        try:
            _, writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            return
        try:
            writer.write(data)
            await asyncio.sleep(seconds)
        finally:
            writer.transport.abort()


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body
