"""What a stream may cost the server: slow readers, many streams, silence, clients that vanish."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from guard.serving.protocol import guard_pb2 as pb
from tests.integration.serving.camera import Camera, frame
from tests.integration.serving.running import PATIENCE, Running, running

Status = grpc.StatusCode


def received(counts: pb.FrameCounts) -> int:
    return sum(value for field, value in counts.ListFields() if field.name != "lost")


def test_a_slow_reader_loses_frames_and_nothing_grows(server: Running) -> None:
    """Answers that nobody reads stop the judging, not the reading; every frame is accounted for."""
    frames, narrow = 3000, [("grpc.http2.lookahead_bytes", 65536), ("grpc.http2.bdp_probe", 0)]
    name = 'cornerguard_frames_total{fate="sampled"}'
    before = server.metrics().get(name, 0)
    with grpc.insecure_channel(server.grpc, narrow) as channel:
        watched = Camera(channel, stream="slow")
        watched.send(*(frame(number) for number in range(frames)))
        deadline = time.monotonic() + PATIENCE
        while server.metrics().get(name, 0) < before + frames:
            assert time.monotonic() < deadline
        answers = watched.finish()
    counts = answers[-1].counts
    assert received(counts) == frames
    assert (counts.judged, counts.waiting) == (len(answers) - 2, 0)
    assert counts.dropped > frames / 2
    sequences = [each.frame.sequence for each in answers[1:-1]]
    assert sequences == sorted(set(sequences))
    assert sequences[-1] == frames - 1  # the newest is never the one that gives way


@pytest.fixture
def strict(tiny_bundle: Path, tmp_path: Path) -> Iterator[Running]:
    settings = tmp_path / "serve.yaml"
    settings.write_text("streams: {streams: 2, idle: 0.5}\nshutdown: {grace: 30}\n")
    with running(tiny_bundle, "--config", str(settings)) as server:
        yield server


def test_streams_are_bounded_expire_and_end_with_the_server(strict: Running) -> None:
    with grpc.insecure_channel(strict.grpc) as channel:
        one, two = (Camera(channel, stream=name) for name in ("one", "two"))
        assert not next(one.call).opened.resumed
        assert not next(two.call).opened.resumed
        assert strict.metrics()["cornerguard_streams"] == 2
        assert Camera(channel, stream="three").end()[0] == Status.RESOURCE_EXHAUSTED
        for silent in (one, two):
            code, details = silent.end()
            assert (code, "no frame came" in details) == (Status.DEADLINE_EXCEEDED, True)
        deadline = time.monotonic() + PATIENCE
        while True:  # both are known, though not connected, for another half second
            third = Camera(channel, stream="three")
            try:
                assert not next(third.call).opened.resumed
                break
            except grpc.RpcError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert third.ask(frame(1)).counts.judged == 1
        strict.process.send_signal(signal.SIGTERM)
        assert third.end()[0] == Status.UNAVAILABLE
        assert strict.process.wait(PATIENCE) == 0


def test_clients_that_vanish_leave_nothing_connected(strict: Running) -> None:
    for number in range(3):
        with grpc.insecure_channel(strict.grpc) as channel:
            vanishing = Camera(channel, stream="vanishing")
            next(vanishing.call)
            vanishing.send(*(frame(count) for count in range(number, number + 50)))
    deadline = time.monotonic() + PATIENCE
    while strict.metrics()["cornerguard_streams"]:
        assert time.monotonic() < deadline
    assert strict.process.poll() is None
