"""The whole job as a user runs it: a recipe in, a bundle out, verdicts from it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from guard.bundle import load_bundle
from offline.demo import Samples, serve_and_ask
from offline.rendering.rendered_set import RenderedImages, RenderSettings

RECIPE = """
name: small
seed: 3
data:
  rendered: {size: 32, train: 360, test: 96}
  calibration: 0.25
model: offline.networks:small_resnet
arguments: {num_classes: 12, width: 8, stem_stride: 2}
train: {epochs: 14, batch_size: 32, learning_rate: 0.1}
counterexamples: {iterations: 2}
harden: {epochs: 3, steps: 2, epsilon: 0.004, batch_size: 32, learning_rate: 0.02}
fit: {layers: [input, stem, stages.stage4, energy], false_alarm_rate: 0.1, jobs: 1}
corner_cases: {seeds: 24, transformations: [rotation, brightness]}
evaluate: {images: 48, steps: 2, distortion: 3}
export: {formats: [torchscript], precisions: [float16]}
floors: {clean_accuracy: 0.25, counterexample_cost: 0.01}
"""
COMMAND = [sys.executable, "-m", "guard"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "2"}


def cornerguard(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe that was interrupted by kill -9 while it hardened, then run again."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "small.yaml").write_text(RECIPE)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*COMMAND, "run", "small.yaml"], cwd=folder, env=ENVIRONMENT, stderr=log
        )
        deadline = time.monotonic() + 240
        while "\nharden" not in (folder / "log").read_text() and time.monotonic() < deadline:
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (folder / "runs" / "small" / "harden").exists()
    finished = cornerguard(folder, "run", "small.yaml")
    assert finished.returncode == 0, finished.stderr
    assert "train: reused" in finished.stderr
    assert "harden: done" in finished.stderr
    return folder


def test_every_stage_is_there_and_a_second_run_reuses_all(folder: Path) -> None:
    run = folder / "runs" / "small"
    first = (run / "report" / "figures.json").read_text()
    again = cornerguard(folder, "run", "small.yaml")
    assert again.returncode == 0, again.stderr
    stages = ["data", "train", "counterexamples", "harden", "fit", "report", "bundle"]
    assert re.findall(r"^(\w+): reused$", again.stderr, re.MULTILINE) == stages
    assert "done in" not in again.stderr
    assert (run / "report" / "figures.json").read_text() == first
    assert not list(run.glob(".*.partial"))


def test_the_figures_are_measured_before_and_after(folder: Path) -> None:
    figures = json.loads((folder / "runs/small/report/figures.json").read_text())["figures"]
    for name in ("clean_accuracy", "robust_accuracy", "counterexample_accuracy", "corner_case_auc"):
        assert 0 <= figures[name]["before"] <= 1, name
        assert 0 <= figures[name]["after"] <= 1, name
    assert figures["clean_accuracy"]["holds"] is True
    page = (folder / "runs/small/report/index.html").read_text()
    pictures = set(re.findall(r'src="([^"]+)"', page))
    assert len(pictures) > 10
    assert all((folder / "runs/small/report" / picture).is_file() for picture in pictures)


def test_the_bundle_verifies_and_gives_verdicts(folder: Path) -> None:
    bundle = load_bundle(folder / "runs/small/bundle")
    assert bundle.manifest.layer_names == ("input", "stem", "stages.stage4", "energy")
    settings = RenderSettings(size=32, train=360, test=96)
    test = RenderedImages(folder / "runs/small/data/test", settings, seed=7)
    for index in range(4):
        pixels = test.pixels[index].permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{index}.png")
    paths = [f"{index}.png" for index in range(4)]
    checked = cornerguard(folder, "check", "runs/small/bundle", "--json", *paths)
    assert checked.returncode == 0, checked.stderr
    verdicts = [json.loads(line) for line in checked.stdout.splitlines()]
    assert [verdict["image"] for verdict in verdicts] == paths
    assert {verdict["verdict"] for verdict in verdicts} <= {"VALID", "CORNER_CASE"}
    assert set(verdicts[0]["discrepancy"]) == {"input", "stem", "stages.stage4", "energy"}
    table = cornerguard(folder, "check", "runs/small/bundle", paths[0])
    assert verdicts[0]["verdict"] in table.stdout


def test_a_figure_below_its_floor_stops_the_release(folder: Path) -> None:
    changed = ("--set", "floors.clean_accuracy=1.0", "--set", "name=gate")
    shutil.copytree(folder / "runs" / "small", folder / "runs" / "gate")
    shutil.rmtree(folder / "runs" / "gate" / "bundle")
    gate = cornerguard(folder, "run", "small.yaml", *changed)
    assert gate.returncode == 1
    assert "below the floor: clean_accuracy; nothing was exported" in gate.stderr
    assert not (folder / "runs" / "gate" / "bundle").exists()


def test_a_server_gives_the_verdicts_and_its_metrics_count_them(folder: Path) -> None:
    settings = RenderSettings(size=32, train=360, test=96)
    test = RenderedImages(folder / "runs/small/data/test", settings, seed=7)
    clean = test.fetch(torch.arange(16))
    # It raises when /metrics counts other verdicts than the client saw, or the server ends badly.
    shares = serve_and_ask(folder / "runs" / "small", Samples(clean, torch.zeros_like(clean)))
    assert set(shares) == {"clean_images_valid", "corner_cases_flagged"}
    assert shares["corner_cases_flagged"]["after"] == 1.0  # black images, all of them
    assert shares["clean_images_valid"]["after"] > 0.5
