"""Odd messages by the million: the server neither ends, nor hangs, nor blames itself.

    python -m tests.benchmarks.fuzz [--messages 1000000] [--seed 0] [--save FILE]

Every method of both services is sent requests that were changed (`tests.benchmarks.mutations`), as
raw bytes, many at a time. The model is a graph of a few nodes (`tests.unit.serving.tiny_bundle`),
so that time goes into what reads requests. A message that protobuf does not parse must be
INVALID_ARGUMENT, unless one before it ended its stream; any other may get an answer or be turned
away, but by none of the statuses that say that the server is at fault, and within a deadline.
Afterwards the same processes must give a valid request its verdict.

Prints the answers by method and status, and `wrong`: up to five messages, in base64, that were
answered as none may be.
"""

import asyncio
import base64
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NamedTuple

import grpc
import typer
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from guard.errors import CornerguardError
from guard.serving.protocol import guard_pb2
from guard.storage import write_json
from tests.benchmarks.mutations import Mutations
from tests.benchmarks.provenance import provenance
from tests.benchmarks.servers import Server, cornerguard
from tests.benchmarks.valid_requests import methods, valid_requests
from tests.unit.serving.tiny_bundle import image_of, write_bundle

__all__ = ["Found", "fuzz", "fuzzed_server"]

SIDE, PIXELS = 8, 10_000
IN_FLIGHT = 48
EXAMPLES = 5
PATIENCE = 30.0
"""Seconds within which any message must have an answer."""
ALLOWED = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"} | {
    "UNIMPLEMENTED",
    "FAILED_PRECONDITION",
    "PERMISSION_DENIED",
    "ABORTED",
}
ENDED_BEFORE = {"NOT_FOUND", "ABORTED", "RESOURCE_EXHAUSTED"}
"""How a stream may end before a later message is read: no such model, taken over, too many."""
CONFIG = f"limits: {{pixels: {PIXELS}}}\n"


class Found(NamedTuple):
    """What came of the messages.

    Attributes:
        statuses: how many answers of each status, by method.
        wrong: messages that were answered as none may be, each with its method and status.
        seconds: that it took.
    """

    statuses: dict[str, dict[str, int]]
    wrong: list[dict[str, str]]
    seconds: float


def main(
    messages: Annotated[int, typer.Option(min=1)] = 1_000_000,
    seed: int = 0,
    save: Path | None = None,
) -> None:
    """Send the messages, print what came of them, and write it to `save`."""
    with TemporaryDirectory() as folder, fuzzed_server(Path(folder)) as server:
        found = asyncio.run(fuzz(server, messages, seed))
    whole = {**provenance(), "messages": messages, "seed": seed, **found._asdict()}
    if save is not None:
        write_json(save, whole)
    print(json.dumps(whole, allow_nan=False))


def fuzzed_server(folder: Path) -> Any:
    """Serve the tiny bundle, with a bound on pixels that makes bombs cheap."""
    config = folder / "serve.yaml"
    config.write_text(CONFIG)
    return cornerguard(write_bundle(folder / "tiny"), config)


async def fuzz(server: Server, messages: int, seed: int) -> Found:
    """Send so many messages; see above.

    Raises:
        CornerguardError: a process of the server ended, or it no longer answers as it should.
    """
    before = server.tree.descendants()
    requests = _requests(messages, seed)
    statuses: dict[str, Counter[str]] = {}
    wrong: list[dict[str, str]] = []
    begin = time.monotonic()
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(server.target, options) as channel:
        streams = grpc.insecure_channel(server.target, options)

        async def one() -> None:
            for method, sent in requests:
                status, details = await _send(channel, streams, method, sent)
                statuses.setdefault(method.name, Counter())[status] += 1
                if status not in _allowed(method, sent) and len(wrong) < EXAMPLES:
                    body = " ".join(base64.b64encode(message).decode() for message in sent)
                    said = {"status": status, "details": details[:300], "message": body[:4000]}
                    wrong.append({"method": method.name, **said})

        await asyncio.gather(*(one() for _ in range(IN_FLIGHT)))
        await _still_right(channel)
        streams.close()
    if server.process.poll() is not None or server.tree.descendants() != before:
        raise CornerguardError("a process of the server ended")
    counted = {name: dict(sorted(counts.items())) for name, counts in sorted(statuses.items())}
    return Found(counted, wrong, round(time.monotonic() - begin, 1))


Request = tuple[MethodDescriptor, list[bytes]]


def _allowed(method: MethodDescriptor, sent: Sequence[bytes]) -> Set[str]:
    """Return what a call may end with.

    What does not parse is INVALID_ARGUMENT; in a stream the fault of a message before it may end
    the call first, but it may never be passed over.
    """
    parses = [_parses(method, message) for message in sent]
    if all(parses):
        return ALLOWED
    return {"INVALID_ARGUMENT"} | (ENDED_BEFORE if parses[0] else set())


def _requests(messages: int, seed: int) -> Iterator[Request]:
    """Yield requests of all methods until there were so many messages.

    In a stream some messages stay valid, so that those behind them are read at all.
    """
    draw = random.Random(seed)
    mutations = Mutations(seed, SIDE, PIXELS)
    image, file = mutations.images[0], mutations.files[0]
    valid = [(method, valid_requests(method, image, file)) for method in methods()]
    sent = 0
    while sent < messages:
        for method, requests in valid:
            for stream in requests:
                yield (
                    method,
                    [
                        message.SerializeToString()
                        if len(stream) > 1 and draw.random() < 0.5
                        else mutations.request(message)
                        for message in stream
                    ],
                )
                sent += len(stream)


async def _send(
    channel: Any, streams: grpc.Channel, method: MethodDescriptor, sent: Sequence[bytes]
) -> tuple[str, str]:
    """Return the name of the status that bytes are answered with, and what was said to it."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    try:
        if method.client_streaming:
            await asyncio.to_thread(_exhaust, streams, path, sent)
        else:
            await channel.unary_unary(path)(sent[0], timeout=PATIENCE)
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED and _is_ours(error):
            return "HANGS", ""
        return error.code().name, error.details() or ""
    return "OK", ""


def _exhaust(streams: grpc.Channel, path: str, sent: Sequence[bytes]) -> None:
    """Send a stream and read all answers.

    Not by asyncio: when a server ends a stream that its client still writes to, that client makes
    INTERNAL of whatever status the server gave.
    """
    for _ in streams.stream_stream(path)(iter(sent), timeout=PATIENCE):
        pass


def _is_ours(error: Any) -> bool:
    """Whether it was this client that gave up; a server that refuses names the deadline's place."""
    return "Deadline Exceeded" in (error.details() or "")


def _parses(method: MethodDescriptor, message: bytes) -> bool:
    try:
        GetMessageClass(method.input_type).FromString(message)
    except DecodeError:
        return False
    return True


async def _still_right(channel: Any) -> None:
    """Require of images that a test can judge by hand that their verdicts are right."""
    check = channel.unary_unary(
        "/guard.v1.GuardService/Check",
        guard_pb2.CheckRequest.SerializeToString,
        guard_pb2.CheckResponse.FromString,
    )
    wanted = {0.5: guard_pb2.VALID, 0.8: guard_pb2.CORNER_CASE, 0.95: guard_pb2.UNVERIFIED}
    for level, verdict in wanted.items():
        image = image_of(level)
        tensor = guard_pb2.Tensor(datatype="FP32", shape=image.shape, data=image.tobytes())
        answer = await check(guard_pb2.CheckRequest(tensor=tensor), timeout=PATIENCE)
        if answer.verdict != verdict:
            raise CornerguardError(f"brightness {level}: verdict {answer.verdict}, not {verdict}")


if __name__ == "__main__":
    typer.run(main)
