"""Clients that behave, and keep account of what they were answered while faults happen."""

import asyncio
from typing import Any

import grpc
import numpy as np

from guard.serving.protocol import guard_pb2, inference_pb2
from guard.serving.protocol.guard_pb2_grpc import GuardServiceStub
from guard.serving.protocol.inference_pb2_grpc import GRPCInferenceServiceStub
from guard.serving.verdict import VERDICTS
from tests.benchmarks.known_answers import Known
from tests.benchmarks.ledger import Ledger

__all__ = ["OWN_CONNECTION", "PATIENCE", "Clients", "inference_request", "outputs_of"]

PATIENCE = 30.0
OUTPUTS = ("label", "score", "verdict")
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


class Clients:
    """Ways to ask about one image, over a few connections.

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
        request = inference_request(self._model, number, known)
        await self._ask(number, self._inference[number % 8].ModelInfer, request)

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
        call = self._inference[number % 8].ModelInfer(inference_request(self._model, number, known))
        await asyncio.sleep(0.002)
        call.cancel()
        self._ledger.forget(number)

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
            self._ledger.answered(int(response.id), *outputs_of(response))
        else:
            verdict = VERDICTS[response.verdict]
            self._ledger.answered(int(response.request_id), response.label, response.score, verdict)


def inference_request(model: str, number: int, known: Known) -> inference_pb2.ModelInferRequest:
    """Return a raw request for what `outputs_of` reads."""
    request = inference_pb2.ModelInferRequest(
        model_name=model, id=str(number), raw_input_contents=[known.raw]
    )
    request.inputs.add(name="images", datatype="FP32", shape=[1, *known.shape])
    for name in OUTPUTS:
        request.outputs.add(name=name)
    return request


def outputs_of(response: inference_pb2.ModelInferResponse) -> tuple[int, float, str]:
    """Return the label, the score and the verdict of an answer."""
    label, score, verdict = response.raw_output_contents
    return (
        int(np.frombuffer(label, "<i8")[0]),
        float(np.frombuffer(score, "<f4")[0]),
        verdict[4:].decode(),
    )
