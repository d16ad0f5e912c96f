"""`cornerguard counterexamples`, killed and run again: none is lost, none is found twice."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from offline.counterexamples import load_shards

RECIPE = """
name: tiny
seed: 1
data: {rendered: {size: 24, train: 48, test: 60}}
model: offline.networks:small_resnet
arguments: {num_classes: 12, width: 4, stem_stride: 2}
train: {epochs: 1, batch_size: 32, learning_rate: 0.05}
counterexamples: {iterations: 4, shard: 5, jobs: 1}
harden: {epochs: 1, steps: 1, epsilon: 0.004, counterexample_share: 0.1}
"""


def start(folder: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "guard", "counterexamples", "tiny.yaml", *options],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(folder: Path, *options: str) -> str:
    process = start(folder, *options)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def shards(folder: Path) -> dict[str, bytes]:
    found = folder / "runs/tiny/counterexamples"
    return {
        str(path.relative_to(found)): path.read_bytes()
        for path in sorted(found.rglob("*"))
        if path.is_file()
    }


def test_a_search_that_was_killed_goes_on_to_the_same_shards(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    (whole / "tiny.yaml").write_text(RECIPE)
    finished(whole)
    expected = shards(whole)
    assert len([name for name in expected if name.startswith("test/")]) == 12 + 1
    found = load_shards(whole / "runs/tiny/counterexamples/test")
    assert len(found) == 60

    shutil.copytree(whole, killed)  # the data and the model, so that only the search is run again
    shutil.rmtree(killed / "runs/tiny/counterexamples")
    process = start(killed)
    at_work = killed / "runs/tiny/.checkpoints"
    while len(list(at_work.rglob("test/*.sum"))) < 3:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (killed / "runs/tiny/counterexamples").exists()
    kept = {path: path.stat().st_mtime_ns for path in at_work.rglob("test/*.sum")}
    assert 3 <= len(kept) < 12

    said = finished(killed)
    assert f"{len(kept)} of 12 shards are there already" in said
    assert shards(killed) == expected

    anew = finished(killed, "--no-resume")
    assert "already" not in anew
    assert "counterexamples: done" in anew
    assert shards(killed) == expected
