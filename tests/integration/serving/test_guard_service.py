"""Typed verdicts from a server process: by a client process, by the class, and on bad input."""

import io
import json
import math
import subprocess
import sys
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image

from guard.client import GuardClient
from guard.errors import BadInput, CornerguardError
from guard.serving.protocol import guard_pb2 as pb
from guard.serving.protocol.guard_pb2_grpc import (
    GuardServiceServicer,
    GuardServiceStub,
    add_GuardServiceServicer_to_server,
)
from tests.integration.serving.running import PATIENCE, Running
from tests.unit.serving.tiny_bundle import expected_score, image_of

CLIENT = """
import json, sys
from pathlib import Path
from guard.client import GuardClient
with GuardClient(sys.argv[1]) as client:
    print(json.dumps([client.check(Path(path)).to_json() for path in sys.argv[2:]]))
assert not {"torch", "sklearn", "onnxruntime"} & set(sys.modules)
"""


def encoded(level: float, kind: str = "PNG") -> bytes:
    pixels = (image_of(level).transpose(1, 2, 0) * 255).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def test_a_client_process_gets_its_verdicts(server: Running, tmp_path: Path) -> None:
    wanted = {0.2: "VALID", 0.5: "VALID", 0.8: "CORNER_CASE", 1.0: "UNVERIFIED", 0.0: "UNVERIFIED"}
    paths = [tmp_path / f"{level}.png" for level in wanted]
    for path, level in zip(paths, wanted, strict=True):
        path.write_bytes(encoded(level))
    command = [sys.executable, "-c", CLIENT, server.grpc, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    verdicts = json.loads(done.stdout)
    assert [verdict["verdict"] for verdict in verdicts] == list(wanted.values())
    pixels = np.asarray(Image.open(paths[2])).transpose(2, 0, 1)[np.newaxis] / 255
    assert verdicts[2]["score"] == pytest.approx(expected_score(pixels)[0], abs=1e-5)
    assert verdicts[2]["class_name"] == "green"
    assert verdicts[3]["score"] is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_files_and_numbers_agree(server: Running, kind: str) -> None:
    data = encoded(0.5, kind)
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).transpose(2, 0, 1)
    with GuardClient(server.grpc, model="tiny") as client:
        by_file = client.check(data)
        by_bytes = client.check(np.ascontiguousarray(pixels))
        by_floats = client.check(pixels.astype(np.float32) / np.float32(255))
    assert by_file == by_bytes == by_floats
    assert by_file.score == pytest.approx(expected_score(pixels[np.newaxis] / 255)[0], abs=1e-5)
    assert by_file.score == pytest.approx(sum(by_file.discrepancy.values()), abs=1e-6)
    assert by_file.p_value == pytest.approx(1 / (1 + math.exp(by_file.score)), abs=1e-6)


def test_the_threshold_can_be_set_by_request(server: Running) -> None:
    with GuardClient(server.grpc) as client:
        default, lenient = client.check(image_of(0.8)), client.check(image_of(0.8), threshold=2.0)
        strict = client.check(image_of(0.2), threshold=-5.0)
    assert (default.verdict, default.threshold) == ("CORNER_CASE", 0.0)
    assert (lenient.verdict, lenient.threshold) == ("VALID", 2.0)
    assert (strict.verdict, strict.threshold) == ("CORNER_CASE", -5.0)


def test_answers_name_request_and_bundle(server: Running, channel: grpc.Channel) -> None:
    check = GuardServiceStub(channel).Check
    tensor = pb.Tensor(datatype="FP32", shape=[3, 8, 8], data=image_of(0.5).tobytes())
    named = check(pb.CheckRequest(tensor=tensor, request_id="frame 7"), timeout=PATIENCE)
    unnamed = [check(pb.CheckRequest(tensor=tensor), timeout=PATIENCE) for _ in range(2)]
    assert named.request_id == "frame 7"
    assert len({answer.request_id for answer in unnamed} - {""}) == 2
    assert (named.model, named.model_version) == ("tiny", server.line["version"])
    assert int(named.fingerprint[:12], 16) == int(named.model_version)


def tensor(datatype: str = "FP32", shape: tuple[int, ...] = (3, 8, 8), data: bytes = b"") -> dict:
    return {"tensor": pb.Tensor(datatype=datatype, shape=shape, data=data)}


def floats(value: float) -> bytes:
    return np.full((3, 8, 8), value, np.float32).tobytes()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "image: missing"),
        ({"encoded": b""}, "empty"),
        ({"encoded": b"GIF89a"}, "neither a JPEG nor a PNG"),
        ({"encoded": encoded(0.5, "JPEG")[:-40]}, "cannot be decoded"),
        (tensor(data=floats(0.5)[1:]), r"tensor: 767 bytes; FP32 \[3, 8, 8\] takes 768"),
        (tensor(data=floats(np.nan)), "tensor: NaN"),
        (tensor(data=floats(np.inf)), "tensor: values from inf to inf"),
        (tensor(data=floats(2)), "tensor: values from 2 to 2"),
        (tensor(shape=(1, 8, 24), data=floats(0)), r"\[batch, 3, any, any\] is wanted"),
        (tensor(shape=(192,), data=floats(0)), r"\[channel, height, width\] are wanted"),
        (tensor("FP64", data=floats(0)), "type 'FP64'"),
        (tensor("BYTES", (1,), b"\0\0\0\0"), "numbers of shape"),
        (tensor(data=floats(0.5)) | {"threshold": math.nan}, "threshold: nan"),
        (tensor(data=floats(0.5)) | {"threshold": math.inf}, "threshold: inf"),
        (tensor(data=floats(0.5)) | {"priority": 10}, r"priority: 10; 1 \(the highest\) to 9"),
    ],
)
def test_bad_input_is_named(channel: grpc.Channel, fields: dict, message: str) -> None:
    with pytest.raises(grpc.RpcError, match=message) as caught:
        GuardServiceStub(channel).Check(pb.CheckRequest(**fields), timeout=PATIENCE)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_bytes_that_are_no_message_do_no_harm(channel: grpc.Channel, server: Running) -> None:
    call = channel.unary_unary("/guard.v1.GuardService/Check")
    with pytest.raises(grpc.RpcError):
        call(b"\xff" * 100, timeout=PATIENCE)
    with GuardClient(server.grpc) as client:
        assert client.check(image_of(0.5)).verdict == "VALID"


def test_the_clients_errors_are_one_line(server: Running, tmp_path: Path) -> None:
    with GuardClient(server.grpc) as client:
        with pytest.raises(BadInput, match="NaN; values in"):
            client.check(np.full((3, 8, 8), np.nan, np.float32))
        with pytest.raises(BadInput, match=r"none\.png: cannot be read"):
            client.check(tmp_path / "none.png")
        with pytest.raises(BadInput, match="type float64; allowed"):
            client.check(np.zeros((3, 8, 8)))
    stranger, lost = GuardClient(server.grpc, model="tinny"), GuardClient("127.0.0.1:1")
    with stranger, pytest.raises(BadInput, match="no model 'tinny'; did you mean 'tiny'"):
        stranger.check(image_of(0.5))
    with lost, pytest.raises(CornerguardError, match=r"127\.0\.0\.1:1: UNAVAILABLE") as caught:
        lost.check(image_of(0.5), timeout=2.0)
    assert "\n" not in str(caught.value)


class _Moody(GuardServiceServicer):
    """Turns away twice, then answers with a verdict from the future."""

    def __init__(self) -> None:
        self.calls = 0

    def Check(self, request: pb.CheckRequest, context: grpc.ServicerContext) -> pb.CheckResponse:
        self.calls += 1
        if self.calls < 3:
            status = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED
            context.set_trailing_metadata((("grpc-retry-pushback-ms", "1"),))
            context.abort(status[self.calls - 1], "try again")
        return pb.CheckResponse(verdict=7, label=1)


def test_the_client_tries_again_and_trusts_no_unknown_verdict() -> None:
    moody, stand_in = _Moody(), grpc.server(futures.ThreadPoolExecutor(1))
    add_GuardServiceServicer_to_server(moody, stand_in)
    port = stand_in.add_insecure_port("127.0.0.1:0")
    stand_in.start()
    with GuardClient(f"127.0.0.1:{port}") as client:
        verdict = client.check(b"anything")
    stand_in.stop(None).wait(PATIENCE)
    assert moody.calls == 3
    assert (verdict.verdict, verdict.label) == ("UNVERIFIED", 1)
