"""AOTInductor: compiled, loaded back, and compared; or one line that says what is missing."""

import shutil
from pathlib import Path

import pytest
import torch
from machine_places import found_in
from torch import nn
from torch._inductor import config

from export import ExportSettings, capture, export_aot_inductor, export_bundle
from export.settings import Format
from guard.bundle import load_bundle
from guard.errors import CornerguardError
from guard.guarded import GuardedClassifier
from offline.datasets import ArrayImages
from offline.fitting import FitSettings, fit_deep_validation

CLASSES = ("dark", "light")


def brightness() -> tuple[GuardedClassifier, ArrayImages]:
    """A classifier of dark and light pictures: one convolution, and logits of its mean."""
    draw = torch.Generator().manual_seed(0)
    level = torch.linspace(40, 200, 80).view(-1, 1, 1, 1)
    pixels = (level + 40 * torch.rand(80, 3, 8, 8, generator=draw)).to(torch.uint8)
    pixels = pixels[torch.randperm(80, generator=draw)]
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    model.append(nn.Linear(4, 2)).eval()
    with torch.no_grad():
        means = model[:4](pixels.float() / 255)
        model[4].weight.copy_(torch.stack([-means.std(0), means.std(0)]) * 40)
        model[4].bias.copy_(-(model[4].weight @ means.mean(0)))
        labels = model(pixels.float() / 255).argmax(1)
    images = ArrayImages(pixels, labels, CLASSES)
    settings = FitSettings(jobs=1, layers=("1", "energy"), false_alarm_rate=0.2)
    return GuardedClassifier(model, fit_deep_validation(model, images, images, settings, 0)), images


def export(guarded: GuardedClassifier, images: ArrayImages, folder: Path, *formats: Format) -> None:
    export_bundle(
        guarded,
        folder,
        class_names=CLASSES,
        images=images,
        data_fingerprint="f" * 64,
        settings=ExportSettings(formats=formats),
    )


@pytest.mark.skipif(
    not any(shutil.which(name) for name in config.cpp.cxx if name), reason="no C++ compiler"
)
def test_the_package_is_compiled_and_agrees(tmp_path: Path) -> None:
    guarded, images = brightness()
    # One capture serves all: what compiles it must leave it as it is for the next.
    export(guarded, images, tmp_path / "bundle", "aot_inductor", "torch_export")
    manifest = load_bundle(tmp_path / "bundle").manifest
    assert (
        {"model.onnx", "model.aot.pt2", "model.pt2"} == set(manifest.parity) <= set(manifest.files)
    )
    found = manifest.parity["model.aot.pt2"]["cpu"]
    assert found.images == 80
    assert max(found.logits, found.score) <= found.tolerance == 1e-4
    assert found_in(tmp_path / "bundle" / "model.aot.pt2") == []
    loaded = torch._inductor.aoti_load_package(str(tmp_path / "bundle" / "model.aot.pt2"))
    one = images.fetch(torch.tensor([7]))
    threshold = torch.tensor([-1e9])
    with torch.no_grad():
        ours, theirs = guarded.eval()(one, threshold), loaded(one, threshold)
    torch.testing.assert_close(theirs[0], ours.logits)
    assert bool(theirs[5]) is False  # no score is below the threshold given


def test_without_a_compiler_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded, images = brightness()
    captured = capture(guarded.eval(), images.fetch(torch.arange(2)))
    monkeypatch.setattr(config.cpp, "cxx", (None, "no-such-compiler"))
    said = r"^aot_inductor: no C\+\+ compiler is found \(no-such-compiler\); install one, "
    with pytest.raises(CornerguardError, match=said):
        export_aot_inductor(captured, tmp_path / "model.aot.pt2")
    with pytest.raises(CornerguardError, match=said):
        export(guarded, images, tmp_path / "bundle", "torchscript", "aot_inductor")
    assert not list(tmp_path.iterdir())
