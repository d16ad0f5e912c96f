"""Clients that ask on streams while faults happen, and keep account of what they were answered.

In threads: where a server ends a stream to which its client still sends, gRPC's asyncio client
reports an error of its own (INTERNAL, "Internal error from Core") in place of the server's status
and of the answers before it.
"""

import asyncio
import queue
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

from guard.serving.protocol import guard_pb2, inference_pb2
from guard.serving.protocol.guard_pb2_grpc import GuardServiceStub
from guard.serving.protocol.inference_pb2_grpc import GRPCInferenceServiceStub
from guard.serving.verdict import VERDICTS
from tests.benchmarks.fault_clients import (
    OWN_CONNECTION,
    PATIENCE,
    inference_request,
    outputs_of,
)
from tests.benchmarks.ledger import Ledger

__all__ = ["StreamClients"]

FRAMES = 20
THREADS = 64
LEAVE = 0.005
"""Seconds until a client that vanishes does so."""


class StreamClients:
    """Ways to ask about a few images in one call.

    Args:
        target: the server's address.
        model: the model's name.
        ledger: where every request stands.
    """

    def __init__(self, target: str, model: str, ledger: Ledger) -> None:
        self._model, self._ledger = model, ledger
        self._channel = grpc.insecure_channel(target, OWN_CONNECTION)
        self._inference = GRPCInferenceServiceStub(self._channel)
        self._guard = GuardServiceStub(self._channel)
        self._threads = ThreadPoolExecutor(THREADS, "stream")

    async def infer(self) -> None:
        """Ask by `ModelStreamInfer` about some images at once."""
        await self._in_thread(self._infer)

    async def vanish(self) -> None:
        """Ask as `infer` does, and go away before the answers can be there."""
        await self._in_thread(self._vanish)

    async def watch(self) -> None:
        """Show frames by `Watch`, each after the answer to the one before.

        A frame that meets a full queue is UNVERIFIED by contract.
        """
        await self._in_thread(self._watch)

    def close(self) -> None:
        """Close the connection."""
        self._threads.shutdown()
        self._channel.close()

    async def _in_thread(self, way: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, way)

    def _begin(self) -> dict[int, inference_pb2.ModelInferRequest]:
        begun = dict(self._ledger.begin() for _ in range(FRAMES))
        return {number: inference_request(self._model, number, begun[number]) for number in begun}

    def _infer(self) -> None:
        asked = self._begin()
        call = self._inference.ModelStreamInfer(iter(tuple(asked.values())), timeout=PATIENCE)
        status, details = "OK", "the stream ended before it was answered"
        try:
            for response in call:
                number = int(response.infer_response.id)
                asked.pop(number, None)
                if response.error_message:
                    full = "wait" in response.error_message
                    status_of_one = "RESOURCE_EXHAUSTED" if full else "IN_STREAM"
                    self._ledger.failed(number, status_of_one, response.error_message)
                else:
                    self._ledger.answered(number, *outputs_of(response.infer_response))
        except grpc.RpcError as error:
            status, details = error.code().name, str(error.details())
        for number in asked:
            self._ledger.failed(number, status, details)

    def _vanish(self) -> None:
        asked = self._begin()
        call = self._inference.ModelStreamInfer(iter(tuple(asked.values())), timeout=PATIENCE)
        time.sleep(LEAVE)
        call.cancel()
        for number in asked:
            self._ledger.forget(number)

    def _watch(self) -> None:
        asked: dict[int, int] = {}
        more: queue.SimpleQueue[bool] = queue.SimpleQueue()
        more.put(True)

        def requests() -> Iterator[guard_pb2.WatchRequest]:
            settings = guard_pb2.WatchSettings(stream=uuid.uuid4().hex, model=self._model)
            yield guard_pb2.WatchRequest(settings=settings)
            for sequence in range(FRAMES):
                if not more.get():
                    return
                asked[sequence], known = self._ledger.begin()
                frame = guard_pb2.Frame(
                    sequence=sequence, capture_us=40_000 * sequence, encoded=known.png
                )
                yield guard_pb2.WatchRequest(frame=frame)

        status, details = "OK", "the stream ended before it was answered"
        try:
            for response in self._guard.Watch(requests(), timeout=PATIENCE):
                if response.HasField("frame"):
                    check = response.frame.check
                    number = asked.pop(response.frame.sequence, -1)
                    self._ledger.answered(number, check.label, check.score, VERDICTS[check.verdict])
                    more.put(True)
        except grpc.RpcError as error:
            status, details = error.code().name, str(error.details())
        more.put(False)
        for number in asked.values():
            self._ledger.failed(number, status, details)
