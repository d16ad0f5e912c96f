"""What the server's benchmarks make of what they measure."""

import subprocess
import sys
from typing import Any

import pytest

from tests.benchmarks.fault_clients import Ledger
from tests.benchmarks.known_answers import Known
from tests.benchmarks.process_tree import ProcessTree
from tests.benchmarks.serving import CLIENTS, ratios, spread, summary

KNOWN = Known(b"", (3, 8, 8), b"", label=2, score=1.5, verdict="CORNER_CASE")
PARENT = """
import subprocess, sys, time
blocks = bytearray(40 << 20)
child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE)
child.stdout.read(1)
print(flush=True)
time.sleep(60)
"""
CHILD = """
import sys, time
blocks = bytearray(60 << 20)
end = time.process_time() + 0.5
while time.process_time() < end: pass
print(end="x", flush=True)
time.sleep(60)
"""


def test_ratios_by_hand() -> None:
    measured: dict[str, dict[str, Any]] = {
        "direct_b1": {"cpu_ms": 4.0, "p50": 2.0},
        "direct_mean_batch": {"cpu_ms": 3.0, "p50": 16.0},
        "cornerguard_at_50": {"p99": 5.5},
    }
    for clients in CLIENTS:
        measured[f"cornerguard_c{clients}"] = {"cpu_ms": 3.6, "per_s": 300.0, "p50": 3.0}
        measured[f"mlserver_c{clients}"] = {"per_s": 100.0 * clients, "p50": 12.0}
    found = ratios(measured)
    assert found["cpu_direct_c16"] == pytest.approx(1.2)  # over the cheaper of the two loops
    assert found["throughput_mlserver_c1"] == pytest.approx(3)
    assert found["throughput_mlserver_c16"] == pytest.approx(3 / 16)
    assert found["p50_mlserver_c1"] == pytest.approx(0.25)
    assert found["added_p99_ms_at_50"] == pytest.approx(3.5)


def test_summary_names_what_was_measured() -> None:
    names = ["cpu_direct_c16", "throughput_mlserver_c16", "throughput_mlserver_c64"]
    names += ["p50_mlserver_c1", "added_p99_ms_at_50"]
    figures: dict[str, Any] = {
        "ratios": {name: spread([1.0, 3.0, 2.0]) for name in names},
        "memory": {"growth": 0.01},
        "start_up_s": spread([0.5]),
    }
    top = summary({"cifar": figures})
    assert top == {
        "cpu_ratio_direct_cifar": 2,
        "throughput_ratio_mlserver_c16": 2,
        "throughput_ratio_mlserver_c64": 2,
        "p50_ratio_mlserver_c1": 2,
        "added_p99_ms_at_50": 2,
        "memory_growth": 0.01,
        "start_up_s": 0.5,
    }
    assert summary({"resnet18": figures}) == {"cpu_ratio_direct_resnet18": 2}


def test_a_process_tree_counts_its_children() -> None:
    code = PARENT.replace("CHILD", repr(CHILD))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            tree = ProcessTree(process.pid)
            assert len(tree.descendants()) == 1
            assert 0.45 < tree.cpu_seconds() < 5
            assert 100 << 20 < tree.memory_bytes() < 200 << 20
        finally:
            for each in tree.descendants():
                subprocess.run(["kill", str(each)], check=True)
            process.kill()


def account(*events: tuple[Any, ...]) -> dict[str, int]:
    """Return the counts after events on one request."""
    ledger = Ledger([KNOWN])
    number, _ = ledger.begin()
    for name, *arguments in events:
        if name == "stop":
            ledger.stopped = 0.0
        else:
            getattr(ledger, name)(number, *arguments)
    ledger.close()
    return {kind: count for kind, count in ledger.counts.items() if kind != "requests"}


RIGHT = ("answered", 2, 1.5, "CORNER_CASE")


@pytest.mark.parametrize(
    ("events", "counts"),
    [
        ([RIGHT], {"answered": 1}),
        ([RIGHT, RIGHT], {"answered": 1, "answered_twice": 1}),
        ([("answered", 2, 1.5, "VALID")], {"answered": 1, "wrong": 1}),
        ([("answered", 1, 1.5, "CORNER_CASE")], {"answered": 1, "wrong": 1}),
        ([("answered", 2, 1.51, "CORNER_CASE")], {"answered": 1, "wrong": 1}),
        ([("answered", -1, float("nan"), "UNVERIFIED")], {"answered": 1, "unverified": 1}),
        ([("failed", "RESOURCE_EXHAUSTED", "")], {"refused": 1}),
        ([("failed", "UNAVAILABLE", "the server is stopping")], {"lost": 1}),
        ([("stop",), ("failed", "UNAVAILABLE", "the server is stopping")], {"refused_stopping": 1}),
        ([("stop",), ("failed", "UNAVAILABLE", "Socket closed")], {"lost": 1}),
        ([("stop",), ("failed", "CANCELLED", "CANCELLED")], {"cancelled_stopping": 1}),
        ([("failed", "CANCELLED", "CANCELLED")], {"lost": 1}),
        ([("forget",)], {"given_up": 1}),
        ([], {"lost": 1}),
    ],
)
def test_every_request_is_accounted_for(
    events: list[tuple[Any, ...]], counts: dict[str, int]
) -> None:
    assert account(*events) == counts
