"""Streams by both clients: alarms, samples, connections that are cut, servers that restart."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from guard.client import Frame, StreamOptions, Watched
from guard.serving.arrivals import Counts
from tests.integration.serving.clients import CLIENTS, Threaded
from tests.integration.serving.relay import Relay
from tests.integration.serving.running import PATIENCE, Running, running
from tests.integration.serving.sources import Lockstep, frame, steady

client_kinds = pytest.mark.parametrize("client", CLIENTS)


@client_kinds
def test_a_stream_raises_and_clears_the_alarm(client: type[Threaded], server: Running) -> None:
    levels = [0.5, 0.8, 1.0, 0.8, 0.5, 0.5, 0.5, 0.5]
    frames = Lockstep(*(frame(number, level) for number, level in enumerate(levels)))
    options = StreamOptions(f"alarm {client.__name__}", window=5, raise_votes=3, clear_votes=1)
    *answers, last = client(server.grpc).watch(frames, options, seen=frames.seen)
    assert [answer.sequence for answer in answers] == list(range(8))
    assert [answer.verdict.verdict[0] for answer in answers if answer.verdict] == list("VCUCVVVV")
    assert [answer.vote.verdict[0] for answer in answers] == list("VCCCCCVV")
    assert [answer.vote.change[0] for answer in answers] == list("UUURUUUC")
    assert [answer.vote.alarm for answer in answers] == [False] * 3 + [True] * 4 + [False]
    assert (last.verdict, last.raised, last.cleared) == (None, 1, 1)
    assert (last.counts, last.lost) == (Counts(judged=8), 0)


@client_kinds
def test_samples_by_the_interval(client: type[Threaded], server: Running) -> None:
    options = StreamOptions(f"interval {client.__name__}", interval=25.0, tolerance=0.0)
    frames = (Frame(number, float(number), b"junk") for number in range(1, 100))
    answers = client(server.grpc).watch(frames, options)
    assert answers[-1].counts.judged + answers[-1].counts.dropped == 4
    assert answers[-1].counts.skipped == 95
    reasons = [answer.verdict.reason for answer in answers if answer.verdict]
    assert all("neither a JPEG nor a PNG" in reason for reason in reasons)


@client_kinds
def test_a_connection_that_is_cut_is_opened_anew(client: type[Threaded], server: Running) -> None:
    """What was counted before the cut still counts: the stream went on where it was."""
    cut: list[int] = []
    with Relay(server.grpc) as relay:

        def seen(watched: Watched) -> None:
            if not cut and watched.counts.judged >= 10:
                cut.append(relay.cut())

        options = StreamOptions(f"cut {client.__name__}", restart=True)
        answers = client(relay.address).watch(steady(150), options, seen=seen)
    last = answers[-1]
    assert cut == [1]
    assert sum(vars(last.counts).values()) + last.lost == 150
    sequences = [answer.sequence for answer in answers[:-1]]
    assert sequences == sorted(set(sequences))
    assert sequences[-1] == 149
    assert last.counts.judged >= len(sequences) > 20


@client_kinds
def test_a_stream_outlives_its_server(client: type[Threaded], tiny_bundle: Path) -> None:
    """A new server knows nothing of the stream; it goes on from where it then is."""
    with running(tiny_bundle) as first:
        address, seen_first = first.grpc, threading.Event()
        answers: list[Watched] = []
        over = threading.Event()

        def frames() -> Iterator[Frame]:
            sequence = 0
            while not over.is_set():
                yield frame(sequence)
                sequence += 1
                time.sleep(0.02)

        def watch() -> None:
            def seen(watched: Watched) -> None:
                answers.append(watched)
                seen_first.set()

            options = StreamOptions("outlives")
            client(address).watch(frames(), options, seen=seen, timeout=float(PATIENCE))

        watching = threading.Thread(target=watch)
        watching.start()
        assert seen_first.wait(PATIENCE)
    before = len(answers)
    with running(tiny_bundle, "--grpc-port", address.rpartition(":")[2]):
        deadline = time.monotonic() + PATIENCE
        while len(answers) < before + 5:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        over.set()
        watching.join(PATIENCE)
    assert not watching.is_alive()
    assert answers[-1].verdict is None
    assert {answer.verdict.verdict for answer in answers if answer.verdict} == {"VALID"}
