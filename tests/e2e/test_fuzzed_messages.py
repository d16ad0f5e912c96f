"""Tens of thousands of odd messages; `python -m tests.benchmarks.fuzz` sends a million."""

import asyncio
from pathlib import Path

from google.protobuf.message import DecodeError

from guard.serving.protocol import inference_pb2 as pb
from tests.benchmarks.fuzz import fuzz, fuzzed_server
from tests.benchmarks.mutations import Mutations

MESSAGES = 30_000


def test_no_odd_message_ends_hangs_or_blames_the_server(tmp_path: Path) -> None:
    with fuzzed_server(tmp_path) as server:
        found = asyncio.run(fuzz(server, MESSAGES, seed=1))
    assert found.wrong == []
    assert sum(sum(counts.values()) for counts in found.statuses.values()) > MESSAGES // 4
    for method in ("ModelInfer", "Check"):  # both ways of being wrong, and of being right
        assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND"} <= set(found.statuses[method])


def test_mutations_repeat_and_are_of_both_kinds() -> None:
    valid = pb.ModelInferRequest(model_name="tiny", raw_input_contents=[bytes(768)])
    valid.inputs.add(name="images", datatype="FP32", shape=[1, 3, 8, 8])
    first, second, other = (Mutations(seed, side=8, most_pixels=10_000) for seed in (1, 1, 2))
    messages = [first.request(valid) for _ in range(500)]
    assert messages == [second.request(valid) for _ in range(500)]
    assert messages != [other.request(valid) for _ in range(500)]
    parsed = 0
    for message in messages:
        try:
            pb.ModelInferRequest.FromString(message)
            parsed += 1
        except DecodeError:
            pass
    assert 300 < parsed < 480
