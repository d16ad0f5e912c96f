"""What parity compares, where it runs, and what it shows when a file disagrees."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, load, numpy_helper, save
from PIL import Image
from torch import nn

from export import Mismatch, capture, export_onnx, require_parity
from export.formats import compare_onnx
from export.parity import full_float32
from export.runners import UnusableProvider, onnx_runner
from guard.guarded import GuardedClassifier
from guard.serving.providers import CPU, CUDA, TENSORRT, chain, has_gpu, listed
from offline.datasets import ArrayImages
from offline.fitting import FitSettings, fit_deep_validation

CLASSES = ("a", "b", "c")
SETTINGS = FitSettings(jobs=1, max_per_class=40, false_alarm_rate=0.3, layers=("1", "energy"))


class Small(nn.Sequential):
    """A convolution and a linear layer; the labels of random images are what it says itself."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, 6, 3, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.BatchNorm1d(24, affine=False, momentum=None),
            nn.Linear(24, 3),
        )


def small(channels: int) -> tuple[GuardedClassifier, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    pixels = (torch.rand(150, channels, 12, 10, generator=draw) * 255).to(torch.uint8)
    torch.manual_seed(0)
    model = Small(channels)
    with torch.no_grad():
        model(pixels.float() / 255)  # the norm's statistics
        model.eval()
        labels = model(pixels.float() / 255).argmax(1)
    images = ArrayImages(pixels, labels, CLASSES)
    detector = fit_deep_validation(model, images, images, SETTINGS, 0)
    return GuardedClassifier(model, detector).eval(), images.fetch(torch.arange(90))


@pytest.fixture(scope="module", params=[3, 1])
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[GuardedClassifier, torch.Tensor, Path]:
    guarded, images = small(request.param)
    path = tmp_path_factory.mktemp("parity") / "model.onnx"
    export_onnx(capture(guarded, images[:2]), path, {})
    return guarded, images, path


def shifted(path: Path, into: Path, output: str, row: int, shift: float) -> None:
    """Rewrite a graph so that one row of one output is moved, as a miscompiled kernel would."""
    model = load(path)
    graph = model.graph
    for node in graph.node:
        for at, name in enumerate(node.output):
            if name == output:
                node.output[at] = "before"
        for at, name in enumerate(node.input):
            if name == output:
                node.input[at] = "before"
    # The row is told by its images, not by its place: batches come in several sizes.
    graph.initializer.append(numpy_helper.from_array(np.array([shift], np.float32), "shift"))
    graph.initializer.append(numpy_helper.from_array(np.array([1, 2, 3]), "space"))
    graph.initializer.append(numpy_helper.from_array(np.array([2.0], np.float32), "limit"))
    graph.node.extend(
        [
            helper.make_node("ReduceMax", ["images", "space"], ["brightest"], keepdims=0),
            helper.make_node("Greater", ["brightest", "limit"], ["hit"]),
            helper.make_node("Cast", ["hit"], ["weight"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["weight", "shift"], ["moved"]),
            helper.make_node("Add", ["before", "moved"], [output]),
        ]
    )
    save(model, into)


def test_the_worst_image_of_a_mismatch_is_shown(
    exported: tuple[GuardedClassifier, torch.Tensor, Path], tmp_path: Path
) -> None:
    guarded, images, path = exported
    images = images.clone()
    images[41, 0, 3, 4] = 3.0  # beyond white: so the graph below knows the image
    shifted(path, tmp_path / "model.onnx", "score", 41, 0.25)
    with torch.no_grad():
        ours = float(guarded(images[41:42]).score)
    picture = tmp_path / "worst.png"
    with pytest.raises(Mismatch) as caught:
        compare_onnx(guarded, tmp_path / "model.onnx", [images], picture)
    message = str(caught.value)
    assert caught.value.image == 41
    assert "model.onnx on CPUExecutionProvider: score of image 41 is " in message
    theirs, module = (
        float(message.partition(before)[2].split(after)[0])
        for before, after in ((" of image 41 is ", ","), ("the module's is ", ":"))
    )
    assert theirs == pytest.approx(ours + 0.25, abs=1e-4)
    assert module == pytest.approx(ours, abs=1e-4)
    assert message.endswith(f"; the image is {picture}")
    assert "\n" not in message
    with Image.open(picture) as shown:
        found = np.asarray(shown)
    wanted = (images[41].clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    if len(wanted) == 3:
        assert np.array_equal(found, wanted.transpose(1, 2, 0))
    else:
        assert np.array_equal(found, np.concatenate(list(wanted), axis=1))


@pytest.mark.parametrize(
    ("images", "sizes"), [(2, [1, 7, 64]), (72, [1, 7, 64]), (90, [1, 7, 64, 18])]
)
def test_each_batch_size_is_tried_however_few_images_there_are(
    exported: tuple[GuardedClassifier, torch.Tensor, Path], images: int, sizes: list[int]
) -> None:
    guarded, every, _ = exported
    asked = []

    def run(batch: torch.Tensor) -> list[np.ndarray]:
        asked.append(batch)
        return [value.detach().numpy() for value in guarded(batch)]

    assert require_parity(guarded, run, every[:images], "model").images == images
    assert [len(batch) for batch in asked] == sizes
    assert all(any(one.equal(seen) for seen in torch.cat(asked)) for one in every[:images])


def test_after_a_tied_label_the_image_is_still_named_by_its_own_index(
    exported: tuple[GuardedClassifier, torch.Tensor, Path],
) -> None:
    guarded, images, _ = exported
    with torch.no_grad():
        answers = guarded(images)
    best = answers.logits.topk(2)
    margin = (best.values[:, 0] - best.values[:, 1]) / answers.logits.square().mean().sqrt()
    tied = int(margin[:45].argmin())
    tolerance = float(margin[tied]) * 1.01
    answers.label[tied] = best.indices[tied, 1]

    def recorded(batch: torch.Tensor) -> list[torch.Tensor]:
        rows = [int((images == one).flatten(1).all(1).nonzero()[0]) for one in batch]
        return [value[rows] for value in answers]

    found = require_parity(guarded, recorded, images, "x", tolerance)
    assert (found.ties, found.tolerance, found.images) == (1, tolerance, 90)
    answers.score[60] += 10
    with pytest.raises(Mismatch, match="score of image 60 ") as caught:
        require_parity(guarded, recorded, images, "x", tolerance)
    assert caught.value.image == 60


def test_every_provider_that_works_here_is_compared_and_the_others_are_named(
    exported: tuple[GuardedClassifier, torch.Tensor, Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    guarded, images, path = exported
    found = compare_onnx(guarded, path, [images], tmp_path / "worst.png")
    said = " ".join(capfd.readouterr().err.split())
    assert CPU in found
    for provider in listed():
        if provider in found:
            assert found[provider].images == len(images)
            allowed = 1e-2 if provider == TENSORRT else 1e-4
            assert found[provider].tolerance == allowed
        else:
            assert f"model.onnx: not compared: {provider} does not start here: " in said
    assert "EP Error" not in said
    assert "Failed to load" not in said
    assert has_gpu() or set(found) == {CPU}
    assert not (tmp_path / "worst.png").exists()


def test_a_provider_that_is_listed_without_its_libraries_is_refused(
    exported: tuple[GuardedClassifier, torch.Tensor, Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """As on a machine whose driver answers, but where CUDA's or TensorRT's libraries are absent."""
    missing = [provider for provider in (CUDA, TENSORRT) if provider in listed()]
    if has_gpu() or not missing:
        pytest.skip("needs ONNX Runtime's GPU build on a machine without a GPU")
    monkeypatch.setattr("export.runners.has_gpu", lambda: True)
    for provider in missing:
        with pytest.raises(UnusableProvider, match=f"{provider} does not start here: "):
            onnx_runner(exported[2], provider)
    written = capfd.readouterr()
    assert written.out == written.err == ""


def test_a_session_is_opened_with_the_provider_and_what_takes_the_rest() -> None:
    assert [name for name, _ in chain(CPU)] == [CPU]
    assert chain(CUDA) == [(CUDA, {"use_tf32": "0"}), (CPU, {})]
    assert [name for name, _ in chain(TENSORRT)] == [TENSORRT, CUDA, CPU]
    assert listed()[0] == CPU
    assert set(listed()) <= set(onnxruntime.get_available_providers())


def test_full_float32_holds_for_its_block_only() -> None:
    def precisions() -> list[str]:
        settings = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
        return [setting.fp32_precision for setting in settings]

    before = precisions()
    with full_float32():
        assert precisions() == ["ieee", "ieee"]
    assert precisions() == before
