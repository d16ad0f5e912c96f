"""Fitting on a Ray cluster of two nodes, both on this machine."""

import socket
import sys

import pytest
import ray
import torch
from sklearn.datasets import load_digits
from torch import nn

from guard.errors import BadInput
from offline.datasets import ArrayImages, Subset
from offline.fitting import FitSettings, fit_deep_validation


@pytest.mark.usefixtures("cluster")
def test_two_nodes_fit_the_validators_of_one_process() -> None:
    digits = load_digits()
    pixels = torch.from_numpy(digits.images * 15).to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(digits.target).long()
    images = ArrayImages(pixels, labels, tuple("0123456789"))
    fit_set = Subset(images, torch.arange(1000))
    calibration_set = Subset(images, torch.arange(1000, 1797))
    model = nearest_mean(fit_set)
    here = fit_deep_validation(model, fit_set, calibration_set, FitSettings(jobs=2), seed=0)
    settings = FitSettings(backend="ray")
    there = fit_deep_validation(model, fit_set, calibration_set, settings, seed=0)
    expected, found = here.state_dict(), there.state_dict()
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name
    # The pool gives its actors tasks in turn, so each of them had some of the twenty.
    pool = ray._private.state.actors().values()
    assert {actor["ActorClassName"] for actor in pool} == {"PoolActor"}
    assert {actor["Address"]["NodeID"] for actor in pool} == {
        node["NodeID"] for node in ray.nodes()
    }


def test_without_ray_a_person_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadInput, match=r"fit.backend: Ray is not installed; pip install"):
        fit_on_ray()


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://localhost:{}", "localhost:{}0000"])
def test_where_no_cluster_listens_a_person_is_told_at_once(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = form.format(free.getsockname()[1])
    monkeypatch.setenv("RAY_ADDRESS", address)
    message = f"fit.backend: no Ray cluster answers at RAY_ADDRESS={address}"
    with pytest.raises(BadInput, match=message):
        fit_on_ray()
    assert not ray.is_initialized()


def fit_on_ray() -> None:
    """Try to fit two classes, of dark images and of bright ones."""
    images = ArrayImages(
        torch.zeros(60, 1, 8, 8, dtype=torch.uint8), torch.arange(60) % 2, ("a", "b")
    )
    images.pixels[1::2] += 200
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, 64))
        model[1].bias.copy_(torch.tensor([20.0, -20.0]))
    fit_deep_validation(model, images, images, FitSettings(backend="ray"), seed=0)


def nearest_mean(fit_set: Subset) -> nn.Module:
    """Build a network whose first layer is random and whose second tells the classes' means."""
    draw = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(48, 64, generator=draw) / 8)
        model[1].bias.zero_()
        hidden = model[:3](fit_set.fetch(torch.arange(len(fit_set))))
        means = torch.stack([hidden[fit_set.labels == label].mean(0) for label in range(10)])
        model[3].weight.copy_(20 * means)
        model[3].bias.copy_(-10 * means.square().sum(1))
    return model.eval()
