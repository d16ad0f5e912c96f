"""A load generator, in a process of its own: images through `tritonclient`, latencies back.

    python -m tests.benchmarks.load HOST:PORT MODEL IMAGES

IMAGES is an array of float32 `[count, channel, height, width]` (`.npy`); each request is one of
them, raw. Every line of the standard input is a JSON object that asks for one measurement:

- `{"clients": 16, "seconds": 5}` or `{"clients": 16, "requests": 100000}`: so many clients, each
  with a connection of its own, each of which asks as soon as it was answered;
- `{"rate": 200, "seconds": 20, "seed": 0}`: requests arrive as a Poisson process, so many a second,
  and none waits for another's answer. Latency counts from when a request was due, so that a slow
  generator does not hide a slow server.

After a warm-up it answers `{"warm": true}` and waits for a line; then, when every request was
answered, it gives the figures. No request is in flight at either time, so the CPU time that a
server uses between the two is that of `requests`.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from tritonclient.grpc.aio import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

__all__: list[str] = []

WARM_UP = 0.5
CONNECTIONS = 16
"""Over which an open loop spreads its requests."""
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]
Ask = Callable[[int], Awaitable[None]]


def main(
    target: Annotated[str, typer.Argument(metavar="HOST:PORT")], model: str, images: Path
) -> None:
    """Measure as the standard input says, until it ends."""
    inputs = [_input(image) for image in np.load(images)]
    for line in sys.stdin:
        asyncio.run(_measure(target, model, inputs, json.loads(line)))


class _Clients:
    """Connections to one server; latencies in seconds and errors of what is asked through them."""

    def __init__(self, target: str, model: str, inputs: list[InferInput], count: int) -> None:
        self._model, self._inputs = model, inputs
        self._clients = [
            InferenceServerClient(target, channel_args=OWN_CONNECTION) for _ in range(count)
        ]
        self.latencies: list[float] = []
        self.errors: dict[str, int] = {}

    async def ask(self, number: int, due: float | None = None) -> None:
        start = time.perf_counter() if due is None else due
        client = self._clients[number % len(self._clients)]
        image = self._inputs[number % len(self._inputs)]
        try:
            await client.infer(self._model, [image])
        except InferenceServerException as error:
            self.errors[str(error.status())] = self.errors.get(str(error.status()), 0) + 1
        else:
            self.latencies.append(time.perf_counter() - start)

    async def closed(self, seconds: float | None, requests: int | None) -> None:
        """Let every client ask in turn, for so many seconds or requests together."""
        count = len(self._clients)
        end = time.perf_counter() + (float("inf") if seconds is None else seconds)
        most = float("inf") if requests is None else requests

        async def one(number: int) -> None:
            while time.perf_counter() < end and number < most:
                await self.ask(number)
                number += count

        await asyncio.gather(*(one(number) for number in range(count)))

    async def open(self, rate: float, seconds: float, seed: int) -> None:
        """Ask at the times of a Poisson process."""
        draw = np.random.default_rng(seed)
        begin = time.perf_counter()
        arrivals = np.cumsum(draw.exponential(1 / rate, round(rate * seconds)))
        asked = []
        for number, arrival in enumerate(begin + arrivals):
            if (wait := arrival - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            asked.append(asyncio.create_task(self.ask(number, arrival)))
        await asyncio.gather(*asked)

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


async def _measure(
    target: str, model: str, inputs: list[InferInput], order: dict[str, Any]
) -> None:
    clients = _Clients(target, model, inputs, order.get("clients", CONNECTIONS))
    await clients.closed(WARM_UP, None)
    clients.latencies, clients.errors = [], {}
    _say({"warm": True})
    sys.stdin.readline()
    begin, cpu = time.perf_counter(), time.process_time()
    if "rate" in order:
        await clients.open(order["rate"], order["seconds"], order["seed"])
    else:
        await clients.closed(order.get("seconds"), order.get("requests"))
    wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
    answered = len(clients.latencies)
    p50, p99 = 1e3 * np.quantile(clients.latencies, [0.5, 0.99]) if answered else (0.0, 0.0)
    _say(
        {
            "requests": answered,
            "errors": clients.errors,
            "per_s": answered / wall,
            "p50": p50,
            "p99": p99,
            "generator_cpu_ms": 1e3 * cpu / max(answered, 1),
        }
    )
    await clients.close()


def _input(image: np.ndarray) -> InferInput:
    tensor = InferInput("images", [1, *image.shape], "FP32")
    tensor.set_data_from_numpy(image[np.newaxis])
    return tensor


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    typer.run(main)
