"""A server that is overloaded, killed, reloaded, abused and stopped: what is left of its answers.

    python -m tests.benchmarks.faults [--seconds 300] [--seed 0] [--config FILE] [--save FILE]

The CIFAR network is asked at twice the rate that it reached before, about images whose answers a
direct ONNX Runtime run gave (`tests.benchmarks.known_answers`), by `ModelInfer`,
`ModelStreamInfer`, `Check` and `Watch`. Meanwhile a worker process is killed (SIGKILL) every 3
seconds, the bundle is reloaded (SIGHUP) every second, and clients send what is no HTTP/2, no
protobuf or no image, leave in the middle of a stream, or do not read their answers. At last the
server is told to stop under load.

- `requests`, of which `answered`, `refused` (RESOURCE_EXHAUSTED: the queue was full), `given_up` by
  their clients, `refused_stopping` (UNAVAILABLE after SIGTERM, and said not to have been taken),
  `cancelled_stopping` (sent after SIGTERM, and CANCELLED, as gRPC does to what no handler had);
- `refused_ms`: how soon the queue refused, median and 99th percentile;
- `lost`: any other end, and `lost_by` status; `answered_twice`; `wrong`: a label, score or verdict
  other than the direct run's. An image that is UNVERIFIED is counted as such, and is not wrong;
- `crashes`: whether the server ended before it was told to, or otherwise than with 0 afterwards;
- `memory_growth`: of all its processes, the median of the last fifth of the time over that of the
  second, as a share.
"""

import asyncio
import json
import os
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from guard.serving.protocol import inference_pb2
from guard.storage import write_json
from tests.benchmarks.fault_clients import Clients
from tests.benchmarks.fault_streams import StreamClients
from tests.benchmarks.known_answers import Known, known_answers
from tests.benchmarks.ledger import Ledger
from tests.benchmarks.provenance import provenance
from tests.benchmarks.rough_clients import RoughClients
from tests.benchmarks.served_models import make_served_model
from tests.benchmarks.servers import PATIENCE, Server, cornerguard

__all__ = ["faults"]

OVERLOAD = 2.0
CALIBRATION, AFTER_STOP = 3.0, 2.0
KILL_EVERY, RELOAD_EVERY, LOOK_EVERY = 3.0, 1.0, 1.0
ROUGH = 6
"""How many rough clients there are at any time."""
AT_ONCE = 64


def main(
    seconds: Annotated[float, typer.Option(min=10)] = 300.0,
    seed: int = 0,
    config: Annotated[Path | None, typer.Option(help="Settings of the server.")] = None,
    save: Path | None = None,
) -> None:
    """Run the test, print what came of it, and write it to `save`."""
    with TemporaryDirectory() as name:
        model = make_served_model("cifar", Path(name))
        known = known_answers(model)
        log = Path(name) / "log"
        with log.open("w") as errors, cornerguard(model.bundle, config, errors) as server:
            found = asyncio.run(faults(server, model.name, known, seconds, seed))
        if found["crashes"]:
            typer.echo(log.read_text()[-4000:], err=True)
    whole = {**provenance(), "onnxruntime": version("onnxruntime-gpu"), **found}
    if save is not None:
        write_json(save, whole)
    print(json.dumps(whole, allow_nan=False))


async def faults(
    server: Server, model: str, known: list[Known], seconds: float, seed: int
) -> dict[str, Any]:
    """Let all the faults happen to a server, stop it, and return the account."""
    ledger = Ledger(known)
    clients = Clients(server.target, model, ledger)
    streams = StreamClients(server.target, model, ledger)
    capacity = await _capacity(clients, ledger)
    inflicted: Counter[str] = Counter()
    memory: list[int] = []
    tasks = [
        asyncio.create_task(_kill(server, inflicted, random.Random(seed))),
        asyncio.create_task(_reload(server, inflicted)),
        asyncio.create_task(_look(server, memory)),
        *(
            asyncio.create_task(_abuse(server, model, known[0], seed + number, inflicted))
            for number in range(ROUGH)
        ),
    ]
    rate, draw = OVERLOAD * capacity, random.Random(seed)
    load = asyncio.create_task(_load(clients, streams, ledger, rate, draw))
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    crashed = server.process.poll() is not None
    ledger.stopped = time.monotonic()
    if not crashed:
        server.process.terminate()
    await asyncio.sleep(AFTER_STOP)
    load.cancel()
    asked = (await asyncio.gather(load, return_exceptions=True))[0]
    broken = [str(result) for result in (*results, asked) if _is_failure(result)]
    code = await asyncio.to_thread(server.process.wait, PATIENCE)
    await clients.close()
    streams.close()
    ledger.close()
    fifth = max(1, len(memory) // 5)
    early, late = (statistics.median(part) for part in (memory[fifth : 2 * fifth], memory[-fifth:]))
    kinds = ("requests", "answered", "unverified", "refused", "given_up")
    stopping = ("refused_stopping", "cancelled_stopping")
    bad = ("lost", "answered_twice", "wrong")
    return {
        "seconds": seconds,
        "capacity_per_s": round(capacity),
        "images": len(known),
        **{kind: ledger.counts[kind] for kind in (*kinds, *stopping, *bad)},
        "lost_by": dict(ledger.lost_by),
        "refused_ms": ledger.refused_ms(),
        "crashes": int(crashed or code != 0),
        "memory_growth": round(late / early - 1, 4),
        "inflicted": dict(sorted(inflicted.items())),
        "examples": [*ledger.examples, *broken],
    }


async def _capacity(clients: Clients, ledger: Ledger) -> float:
    """Return how many requests a second are answered when a few clients ask in turn."""
    end = time.monotonic() + CALIBRATION

    async def one() -> None:
        while time.monotonic() < end:
            await clients.infer()

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    return ledger.counts["answered"] / CALIBRATION


async def _load(
    clients: Clients, streams: StreamClients, ledger: Ledger, rate: float, draw: random.Random
) -> None:
    """Begin requests at random times, so many a second; wait for those begun when cancelled."""
    ways: list[tuple[Callable[[], Awaitable[None]], float]] = [
        (clients.infer, 0.85),
        (clients.check, 0.13),
        (clients.give_up, 0.02),
        (streams.infer, 0.004),
        (streams.vanish, 0.002),
        (streams.watch, 0.004),
    ]
    weights = [weight for _, weight in ways]
    begun: set[asyncio.Task[None]] = set()

    def ended(task: asyncio.Task[None]) -> None:
        begun.discard(task)
        if error := task.exception():
            ledger.broke(error)

    due = time.monotonic()
    try:
        while True:
            due += draw.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            way = draw.choices(ways, weights)[0][0]
            task = asyncio.create_task(way())  # type: ignore[arg-type]
            begun.add(task)
            task.add_done_callback(ended)
    finally:
        await asyncio.gather(*begun, return_exceptions=True)


async def _kill(server: Server, inflicted: Counter[str], draw: random.Random) -> None:
    while True:
        await asyncio.sleep(KILL_EVERY)
        workers = server.tree.descendants()
        if workers:
            os.kill(draw.choice(workers), signal.SIGKILL)
            inflicted["kills"] += 1


async def _reload(server: Server, inflicted: Counter[str]) -> None:
    while _catches(server.process.pid, signal.SIGHUP):
        await asyncio.sleep(RELOAD_EVERY)
        server.process.send_signal(signal.SIGHUP)
        inflicted["reloads"] += 1


async def _look(server: Server, memory: list[int]) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY)
        memory.append(await asyncio.to_thread(server.tree.memory_bytes))


async def _abuse(
    server: Server, model: str, known: Known, seed: int, inflicted: Counter[str]
) -> None:
    request = inference_pb2.ModelInferRequest(model_name=model, raw_input_contents=[known.raw])
    request.inputs.add(name="images", datatype="FP32", shape=[1, *known.shape])
    rough, draw = RoughClients(server.target, request, seed), random.Random(seed)
    while True:
        way = draw.choice(rough.ways())
        await way()
        inflicted[way.__name__] += 1


def _catches(process: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal, which ends it where it has none."""
    status = Path(f"/proc/{process}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def _is_failure(result: object) -> bool:
    return isinstance(result, Exception)


if __name__ == "__main__":
    typer.run(main)
