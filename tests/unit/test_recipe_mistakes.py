"""Bad input: exit code 2 and one line that names the thing and where it was named."""

import json
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from guard import cli
from offline.recipe import load_recipe

RECIPE = """name: own
data: {data}
model: {model}
arguments: {arguments}
train: {{epochs: 1, batch_size: 4}}
fit:
  layers: [{layers}]
  false_alarm_rate: 0.4
  jobs: 1
"""
GOOD = {
    "data": "images",
    "model": "own_model:make",
    "arguments": "{classes: 2}",
    "layers": "body.conv",
}
OWN_MODEL = """
from torch import nn
def make(classes):
    body = nn.Sequential()
    body.add_module("conv", nn.Conv2d(3, 4, 3))
    body.add_module("pool", nn.AdaptiveAvgPool2d(1))
    whole = nn.Sequential()
    whole.add_module("body", body)
    whole.add_module("flat", nn.Flatten())
    whole.add_module("head", nn.Linear(4, classes))
    return whole
def segmenter():
    return nn.Conv2d(3, 2, 1)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder: images of two classes, a model of their own, a recipe."""
    for part in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / "images" / part / name).mkdir(parents=True)
            for index in range(12):
                colour = (200 * label, 10 * index, 50)
                file = tmp_path / "images" / part / name / f"{index}.png"
                Image.new("RGB", (8, 8), colour).save(file)
    (tmp_path / "own_model.py").write_text(OWN_MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "own_model", raising=False)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["cornerguard", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def write_recipe(folder: Path, more: str = "", **changes: str) -> None:
    (folder / "own.yaml").write_text(RECIPE.format(**(GOOD | changes)) + more)


def spoil_class(folder: Path) -> None:
    for file in (folder / "images/train/dog").iterdir():
        file.unlink()


def spoil_image(folder: Path) -> None:
    (folder / "images/train/dog/3.png").write_bytes(b"not an image")


def spoil_nothing(folder: Path) -> None:
    assert folder.is_dir()


@pytest.mark.parametrize(
    ("changes", "more", "spoil", "wanted"),
    [
        ({}, "frobnicate: 1\n", spoil_nothing, "own.yaml:10: unknown key 'frobnicate'"),
        ({}, "floors: {clean_acuracy: 1}\n", spoil_nothing, "did you mean 'clean_accuracy'"),
        ({"data": "imags"}, "", spoil_nothing, "own.yaml:2: data: imags: no such folder"),
        (
            {},
            "weights: none.safetensors\n",
            spoil_nothing,
            "own.yaml:10: weights: none.safetensors",
        ),
        ({}, "", spoil_class, "own.yaml:2: data: images/train/dog: the class 'dog' has no image"),
        ({}, "", spoil_image, "own.yaml:2: data: images/train/dog/3.png: does not decode"),
        ({"layers": "body.cnv"}, "", spoil_nothing, "own.yaml:7: fit.layers"),
        ({"layers": "body.cnv"}, "", spoil_nothing, "did you mean 'body.conv'"),
        (
            {"model": "own_model:segmenter", "arguments": "{}"},
            "",
            spoil_nothing,
            "own.yaml:3: model: the model's output for 2 images is [2, 2, 8, 8]; [batch, class]",
        ),
        ({"model": "own_model:mke"}, "", spoil_nothing, "own.yaml:3: model: 'own_model:mke'"),
        ({"arguments": "{classes: 3}"}, "", spoil_nothing, "is [2, 3]; [batch, class] = [2, 2]"),
        ({}, "harden: {epsilon: 8}\n", spoil_nothing, "write 8/255"),
        ({}, "counterexamples: {}\n", spoil_nothing, "need data that is rendered"),
    ],
)
def test_a_mistake_ends_with_2_and_one_line(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str],
    more: str,
    spoil,
    wanted: str,
) -> None:
    write_recipe(folder, more, **changes)
    spoil(folder)
    assert run(monkeypatch, "run", "own.yaml") == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert wanted in errors[0]


def test_a_missing_recipe_names_those_that_are_shipped(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "run", "recipes/mnst.yaml") == 2
    assert "mnst.yaml: no such recipe; did you mean 'mnist'?" in capsys.readouterr().err


def test_a_users_own_model_and_images_go_through_to_the_fit(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    body = {"conv": nn.Conv2d(3, 4, 3), "head": nn.Linear(4, 2)}
    weights = {f"body.conv.{k}": v for k, v in body["conv"].state_dict().items()}
    weights |= {f"head.{k}": v for k, v in body["head"].state_dict().items()}
    # Red decides: the class is what the second logit says of the first channel.
    weights["body.conv.weight"].zero_()[:, 0] = 1 / 9
    weights["body.conv.bias"].zero_()
    weights["head.weight"].copy_(torch.tensor([[0.0] * 4, [1.0] * 4]))
    weights["head.bias"].copy_(torch.tensor([1.0, 0.0]))
    save_file(weights, folder / "own.safetensors")
    data = "{path: images, calibration: 0.4}"
    write_recipe(folder, "weights: own.safetensors\n", data=data)
    assert run(monkeypatch, "fit", "own.yaml") == 0, capsys.readouterr().err
    assert (folder / "runs/own/fit/trained/detector.safetensors").is_file()
    history = json.loads((folder / "runs/own/train/history.json").read_text())
    assert history == {"losses": [], "rates": []}


@pytest.mark.parametrize("name", ["demo", "mnist", "recipes/mnist.yaml"])
def test_the_shipped_recipes_are_found_by_name(name: str) -> None:
    recipe, path = load_recipe(name, ("seed=5",))
    assert recipe.seed == 5
    assert recipe.name == path.stem
