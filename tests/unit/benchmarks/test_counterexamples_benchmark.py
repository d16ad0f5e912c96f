"""The benchmark of counterexamples, on images of 32 pixels: that it runs, and keeps its work."""

import json

import pytest
import torch

from offline.networks import small_resnet
from tests.benchmarks import hunts, scene_images, semantic_subject
from tests.benchmarks.attack_figures import attack_figures
from tests.benchmarks.counterexamples import benchmark
from tests.benchmarks.scene_images import mesh_source, procedural_source, render_images
from tests.benchmarks.semantic_subject import ATTACKS, Sizes, open_subject

SMALLEST = Sizes(
    size=16, train=24, judged=12, adaptive=12, epochs=1, rounds=2, retrain_epochs=1,
    round_epochs=1, tune_epochs=1, batch=12,
)  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    for module in (hunts, scene_images):
        monkeypatch.setattr(module, "CACHE", tmp_path)
    # A ResNet-18 takes half a minute to write and read its weights alone.
    monkeypatch.setattr(semantic_subject, "resnet18", small_resnet)
    return tmp_path


def test_the_benchmark_runs_and_its_figures_agree():
    found = benchmark(open_subject(procedural_source(), "vgg16", "validation", SMALLEST))
    json.dumps(found, allow_nan=False)
    first, last = found["retrained"]["seeds"], found["retrained"]["more_rounds"]
    for name in ATTACKS:
        figures = found["attacks"][name]
        drop = found["drop_" + name.lower().replace("-", "_")]
        lost = 100 * (figures["accuracy_benign"] - figures["accuracy_attacked"])
        assert drop == pytest.approx(lost, abs=0.01)
        assert figures["found"] == pytest.approx(lost / 100 * SMALLEST.judged)
        assert last["static"]["benign"][name] == pytest.approx(
            figures["accuracy_attacked"], abs=1e-4
        )
        for equal in figures["equal_renders"].values():
            assert equal["sampling_renders"] <= equal["attack_renders"]
    rows = ["benign", *ATTACKS]
    assert list(first["static"]) == list(last["adaptive"]) == rows
    others = [
        first["adaptive"][train][test]
        for train in ATTACKS for test in ATTACKS if train != test
    ]  # fmt: skip
    assert found["retrained_adaptive_min"] == min(others)


def test_what_was_trained_and_found_is_kept(cache, monkeypatch):
    source = procedural_source()
    subject = open_subject(source, "vgg16", "test", SMALLEST)
    first = attack_figures(subject, "sGD")

    def fail(*arguments, **more):
        raise AssertionError("this had been done before")

    for name in ("train", "find_counterexamples"):
        monkeypatch.setattr(hunts, name, fail)
    again = open_subject(source, "vgg16", "test", SMALLEST)
    assert attack_figures(again, "sGD") == first
    with pytest.raises(AssertionError, match="done before"):
        attack_figures(again, "sCW")


def test_scenes_are_drawn_again_to_the_bit_and_differ_between_seeds():
    source = procedural_source()
    images = render_images(source, 70, 16, seed=4)
    rows = torch.tensor([65, 3, 64])
    again = render_images(source, 70, 16, seed=4)
    assert images.pixels.equal(again.pixels)
    scenes, whole = images.scenes(rows), again.scenes(torch.arange(70))
    assert scenes.camera.equal(whole.camera[rows])
    assert not images.pixels.equal(render_images(source, 70, 16, seed=5).pixels)


def test_meshes_of_a_folder_are_a_source(tmp_path):
    for name, height in (("flat", 0.2), ("tall", 2.0)):
        folder = tmp_path / "meshes" / name
        folder.mkdir(parents=True)
        corners = [(1, 0, 0), (-1, 0, 1), (-1, 0, -1), (0, height, 0)]
        lines = [f"v {x} {y} {z}" for x, y, z in corners]
        lines += ["f 1 3 2", "f 1 2 4", "f 2 3 4", "f 3 1 4"]
        (folder / "one.obj").write_text("\n".join(lines))
    source = mesh_source(tmp_path / "meshes")
    assert source.classes == ("flat", "tall")
    images = render_images(source, 6, 24, seed=0)
    assert images.labels.bincount().tolist() == [3, 3]
    assert len(images.pixels.flatten(1).unique(dim=0)) == 6
