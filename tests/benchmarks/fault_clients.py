"""Clients that behave, and keep account of what they were answered while faults happen."""

import asyncio
import time
import uuid
from collections import Counter
from typing import Any

import grpc
import numpy as np

from guard.serving.protocol import guard_pb2, inference_pb2
from guard.serving.protocol.guard_pb2_grpc import GuardServiceStub
from guard.serving.protocol.inference_pb2_grpc import GRPCInferenceServiceStub
from guard.serving.verdict import VERDICTS
from tests.benchmarks.known_answers import Known

__all__ = ["Clients", "Ledger"]

PATIENCE = 30.0
OUTPUTS = ("label", "score", "verdict")
FRAMES = 20
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]
NEVER_TAKEN = ("failed to connect", "connection refused", "the server is stopping", "goaway")


class Ledger:
    """What became of each request; each has an image and an id of its own.

    Attributes:
        counts: of `requests`, `answered`, `refused` (RESOURCE_EXHAUSTED), `lost`, `answered_twice`,
            `wrong`, `unverified`, clients that are `broken`; after the signal to stop, `refused_stopping` and
            `cancelled_stopping`.
        lost_by: the lost ones by status.
        examples: a few of what went wrong, in words.
        stopped: when the server was told to stop, by `time.monotonic()`.
    """

    def __init__(self, known: list[Known]) -> None:
        self._known = known
        self._open: dict[int, float] = {}
        self._next = 0
        self._refused_after: list[float] = []
        self.counts: Counter[str] = Counter()
        self.lost_by: Counter[str] = Counter()
        self.examples: list[str] = []
        self.stopped = float("inf")

    def begin(self) -> tuple[int, Known]:
        """Open a request: its id and its image."""
        number, self._next = self._next, self._next + 1
        self._open[number] = time.monotonic()
        self.counts["requests"] += 1
        return number, self._known[number % len(self._known)]

    def answered(self, number: int, label: int, score: float, verdict: str) -> None:
        """Close a request with its answer."""
        if self._open.pop(number, None) is None:
            self._count("answered_twice", f"request {number}")
            return
        self.counts["answered"] += 1
        known = self._known[number % len(self._known)]
        if verdict == "UNVERIFIED":
            self.counts["unverified"] += 1
        elif not known.agrees(label, score, verdict):
            self._count("wrong", f"request {number}: {label} {score} {verdict}, not {known[3:]}")

    def failed(self, number: int, status: str, details: str) -> None:
        """Close a request with the status that it got instead of an answer.

        A full queue refuses. A server that was told to stop may refuse whatever it did not take,
        and cut off what was sent after that; what it had by then is lost.
        """
        sent = self._open.pop(number, None)
        if sent is None:
            self._count("answered_twice", f"request {number}: {status}")
        elif status == "RESOURCE_EXHAUSTED":
            self.counts["refused"] += 1
            self._refused_after.append(time.monotonic() - sent)
        elif status == "UNAVAILABLE" and _never_taken(details) and time.monotonic() > self.stopped:
            self.counts["refused_stopping"] += 1
        elif status == "CANCELLED" and sent > self.stopped:
            self.counts["cancelled_stopping"] += 1
        else:
            late = time.monotonic() > self.stopped
            self.lost_by[f"{status} after the signal" if late else status] += 1
            self._count("lost", f"{status}: request {number}: {details[:200]}")

    def forget(self, number: int) -> None:
        """Close a request that its client gave up."""
        self._open.pop(number, None)
        self.counts["given_up"] += 1

    def broke(self, error: BaseException) -> None:
        """Note that a client failed by itself; what it had asked stays without an answer."""
        self._count("broken", repr(error))

    def close(self) -> None:
        """Count what has still no answer as lost."""
        for number in list(self._open):
            self.failed(number, "NOTHING", "no answer at all")

    def refused_ms(self) -> list[float]:
        """Return the median and the 99th percentile of the time until a request was refused."""
        after = self._refused_after or [0.0]
        return [round(1e3 * float(np.quantile(after, part)), 1) for part in (0.5, 0.99)]

    def _count(self, kind: str, what: str) -> None:
        self.counts[kind] += 1
        like = f"{kind}: {what.partition(':')[0]}"
        if sum(example.startswith(like) for example in self.examples) < 3:
            self.examples.append(f"{kind}: {what}")


class Clients:
    """Four ways to ask about one image, over a few connections.

    Args:
        target: the server's address.
        model: the model's name.
        ledger: where every request stands.
        connections: how many.
    """

    def __init__(self, target: str, model: str, ledger: Ledger, connections: int = 8) -> None:
        self._model, self._ledger = model, ledger
        self._channels = [
            grpc.aio.insecure_channel(target, OWN_CONNECTION) for _ in range(connections)
        ]
        self._inference = [GRPCInferenceServiceStub(channel) for channel in self._channels]
        self._guard = [GuardServiceStub(channel) for channel in self._channels]

    async def infer(self) -> None:
        """Ask by `ModelInfer`, raw."""
        number, known = self._ledger.begin()
        await self._ask(number, self._inference[number % 8].ModelInfer, self._infer(number, known))

    async def check(self) -> None:
        """Ask by `Check`, with a PNG file."""
        number, known = self._ledger.begin()
        request = guard_pb2.CheckRequest(
            model=self._model, encoded=known.png, request_id=str(number)
        )
        await self._ask(number, self._guard[number % 8].Check, request)

    async def give_up(self) -> None:
        """Ask, and cancel before the answer can be there."""
        number, known = self._ledger.begin()
        call = self._inference[number % 8].ModelInfer(self._infer(number, known))
        await asyncio.sleep(0.002)
        call.cancel()
        self._ledger.forget(number)

    async def stream(self, vanish: bool = False) -> None:
        """Ask by `ModelStreamInfer` about a few images at once; to vanish is not to wait."""
        asked = dict(self._ledger.begin() for _ in range(FRAMES))

        # Not by iterators: gRPC cancels a call whose messages it can no longer send, and the status
        # that the server gave is gone.
        call = self._inference[min(asked) % 8].ModelStreamInfer(timeout=PATIENCE)

        async def write() -> None:
            for number, known in tuple(asked.items()):
                await call.write(self._infer(number, known))
            await call.done_writing()

        writing = asyncio.create_task(write())
        if vanish:
            await asyncio.sleep(0.005)
            call.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            for number in asked:
                self._ledger.forget(number)
            return
        details = "the stream ended before it was answered"
        try:
            while (response := await call.read()) is not grpc.aio.EOF:
                number = int(response.infer_response.id)
                asked.pop(number, None)
                if response.error_message:
                    full = "wait" in response.error_message
                    status = "RESOURCE_EXHAUSTED" if full else "IN_STREAM"
                    self._ledger.failed(number, status, response.error_message)
                else:
                    self._ledger.answered(number, *_outputs(response.infer_response))
        except grpc.aio.AioRpcError as error:
            details = str(error.details())
        await asyncio.gather(writing, return_exceptions=True)
        status = (await call.code()).name
        for number in asked:
            self._ledger.failed(number, status, details)

    async def watch(self) -> None:
        """Show frames by `Watch`, each after the answer to the one before.

        A frame that meets a full queue is UNVERIFIED by contract.
        """
        asked: dict[int, int] = {}
        stream = guard_pb2.WatchSettings(stream=uuid.uuid4().hex, model=self._model)
        call = self._guard[id(stream) % 8].Watch(timeout=PATIENCE)
        try:
            await call.write(guard_pb2.WatchRequest(settings=stream))
            await call.read()
            for sequence in range(FRAMES):
                number, known = self._ledger.begin()
                asked[sequence] = number
                frame = guard_pb2.Frame(
                    sequence=sequence, capture_us=40_000 * sequence, encoded=known.png
                )
                await call.write(guard_pb2.WatchRequest(frame=frame))
                judged = await call.read()
                if judged is grpc.aio.EOF:
                    break
                check = judged.frame.check
                answer = check.label, check.score, VERDICTS[check.verdict]
                self._ledger.answered(asked.pop(judged.frame.sequence, -1), *answer)
            await call.done_writing()
            while (response := await call.read()) is not grpc.aio.EOF:
                if response.HasField("frame"):
                    self._ledger.answered(-1, 0, 0.0, "")
            details = ""
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            details = str(error)
        status = await call.code()
        for number in asked.values():
            self._ledger.failed(number, status.name, str(await call.details() or details))

    async def close(self) -> None:
        """Close all connections."""
        for channel in self._channels:
            await channel.close()

    async def _ask(self, number: int, method: Any, request: Any) -> None:
        try:
            response = await method(request, timeout=PATIENCE)
        except grpc.aio.AioRpcError as error:
            self._ledger.failed(number, error.code().name, error.details() or "")
            return
        if isinstance(response, inference_pb2.ModelInferResponse):
            self._ledger.answered(int(response.id), *_outputs(response))
        else:
            verdict = VERDICTS[response.verdict]
            self._ledger.answered(int(response.request_id), response.label, response.score, verdict)

    def _infer(self, number: int, known: Known) -> inference_pb2.ModelInferRequest:
        request = inference_pb2.ModelInferRequest(
            model_name=self._model, id=str(number), raw_input_contents=[known.raw]
        )
        request.inputs.add(name="images", datatype="FP32", shape=[1, *known.shape])
        for name in OUTPUTS:
            request.outputs.add(name=name)
        return request


def _outputs(response: inference_pb2.ModelInferResponse) -> tuple[int, float, str]:
    label, score, verdict = response.raw_output_contents
    return (
        int(np.frombuffer(label, "<i8")[0]),
        float(np.frombuffer(score, "<f4")[0]),
        verdict[4:].decode(),
    )


def _never_taken(details: str) -> bool:
    return any(words in details.lower() for words in NEVER_TAKEN)
