"""A user's own model by its factory; whatever does not fit is named."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from guard.errors import BadInput, CornerguardError
from offline.models import build_model, load_weights, require_classifier, save_weights

RESNET = "offline.networks:small_resnet"


def test_normalisation_is_inside_and_weights_round_trip(tmp_path: Path) -> None:
    normalise = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.1)}
    model = build_model(RESNET, {"num_classes": 4}, normalise).eval()
    images = torch.rand(2, 3, 16, 16)
    bare = model.model(
        (images - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1))
        / torch.tensor([0.2, 0.2, 0.1]).view(3, 1, 1)
    )
    torch.testing.assert_close(model(images), bare)
    for saved, name in ((model, "whole"), (model.model, "inner")):
        save_weights(saved, tmp_path / name)
        other = build_model(RESNET, {"num_classes": 4}, normalise).eval()
        load_weights(other, tmp_path / name)
        assert torch.equal(other(images), model(images))


@pytest.mark.parametrize(
    ("factory", "arguments", "message"),
    [
        ("no.such:thing", {}, "cannot be imported"),
        ("offline.networks:small_resnt", {}, "did you mean 'small_resnet'"),
        (RESNET, {"nm": 1}, "does not take these arguments"),
        ("offline.networks:OrderedDict", {}, "returns a OrderedDict"),
    ],
)
def test_a_wrong_factory_is_named(factory: str, arguments: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        build_model(factory, arguments, None)


def test_wrong_weights_are_named(tmp_path: Path) -> None:
    model = nn.Linear(2, 3)
    cases = {
        "junk": (b"junk", "is not a safetensors file"),
        "shape": (
            {"weight": torch.zeros(9, 2), "bias": torch.zeros(3)},
            "size mismatch for weight",
        ),
        "missing": ({"weight": torch.zeros(3, 2)}, "lacks 'bias'"),
        "more": (
            {**nn.Linear(2, 3).state_dict(), "bies": torch.zeros(1)},
            "unknown 'bies'.*mean 'bias'",
        ),
    }
    for name, (content, message) in cases.items():
        file = tmp_path / name
        file.write_bytes(content) if isinstance(content, bytes) else save_file(content, file)
        with pytest.raises(BadInput, match=message):
            load_weights(model, file)
    with pytest.raises(BadInput, match="none"):
        load_weights(model, tmp_path / "none")


def test_an_output_that_is_not_batch_by_class_is_refused() -> None:
    shape = (1, 4, 4)
    require_classifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), shape, 3)
    with pytest.raises(BadInput, match=r"is \[2, 1, 4, 4\]; \[batch, class\] = \[2, 3\]"):
        require_classifier(nn.Identity(), shape, 3)
    with pytest.raises(BadInput, match=r"does not take images \[batch, 1, 4, 4\]"):
        require_classifier(nn.Linear(5, 3), shape, 3)
    broken = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    nn.init.constant_(broken[1].bias, float("nan"))
    with pytest.raises(CornerguardError, match="not finite"):
        require_classifier(broken, shape, 3)
