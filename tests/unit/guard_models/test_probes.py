"""Probes: names, what is seen, and what is kept of it."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import normalize
from torch import nn

from guard.errors import BadInput
from guard.probes import Flatten, Grid, Statistics, UnitLength, require_layers, watch
from offline.networks import seven_layer_cnn


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["conv5"], "no layer 'conv5'; did you mean 'conv"),
        (["inptu"], "did you mean 'input'"),
        (["conv1", "conv1"], "named twice"),
    ],
)
def test_a_wrong_layer_is_named(layers: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        require_layers(seven_layer_cnn(), layers)


def test_the_last_call_of_a_layer_is_kept_and_hooks_are_removed() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2, bias=False)
            nn.init.constant_(self.linear.weight, 0.5)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return self.linear(self.linear(rows))

    model = Twice()
    with watch(model, ["linear"]) as seen:
        output = model(torch.ones(1, 2))
    assert seen["linear"].equal(output)
    assert output.tolist() == [[1, 1]]
    assert not model.linear._forward_hooks
    assert not model._forward_pre_hooks


class InPlace(nn.Module):
    """Works in place on its images, on a layer's output, and on what a block gave."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))
        self.head = nn.Linear(4, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.block(images.sub_(0.5))
        maps += 1
        return self.head(maps.mean((2, 3)))


def test_what_is_changed_in_place_later_is_seen_as_the_layer_gave_it(device: torch.device) -> None:
    torch.manual_seed(0)
    model = InPlace().eval().to(device)
    images = torch.rand(2, 3, 8, 8, device=device)
    before = images.clone()
    with torch.no_grad(), watch(model, ["block.0", "block"]) as seen:
        model(images)
        convolved = model.block[0](before - 0.5)
    assert images.equal(before)
    assert convolved.min() < 0
    torch.testing.assert_close(seen["block.0"], convolved)
    torch.testing.assert_close(seen["block"], convolved.relu())


def test_statistics_are_numpys() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    root = np.sqrt(np.square(maps).mean((2, 3)))
    expected = np.concatenate([maps.mean((2, 3)), root, maps.max((2, 3))], axis=1)
    assert Statistics()(torch.from_numpy(maps)).numpy() == pytest.approx(expected, abs=1e-6)
    last = torch.from_numpy(maps).permute(0, 2, 3, 1)
    assert Statistics(3)(last).numpy() == pytest.approx(expected, abs=1e-6)
    tokens = last.flatten(1, 2)
    assert Statistics(2)(tokens).numpy() == pytest.approx(expected, abs=1e-6)


def test_the_root_of_a_channel_of_zeros_is_the_floor_and_has_a_finite_gradient() -> None:
    maps = torch.zeros((1, 1, 4, 4), requires_grad=True)
    root = Statistics()(maps)[0, 1]
    root.backward()
    assert root.item() == pytest.approx(1e-5)
    assert torch.isfinite(maps.grad).all()


def test_grid_and_flatten() -> None:
    maps = torch.arange(16.0).view(1, 1, 4, 4)
    assert Grid(2)(maps).tolist() == [[2.5, 4.5, 10.5, 12.5]]
    assert Flatten()(maps).tolist() == [list(range(16))]
    assert Grid(2)(maps.flatten(1)).shape == (1, 16)


def test_unit_length_keeps_the_direction_and_the_logarithm_of_the_length() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 3, 4, 4)).astype(np.float32)
    flat = rows.reshape(5, -1)
    expected = np.column_stack([normalize(flat), np.log(np.linalg.norm(flat, axis=1))])
    found = UnitLength(Flatten())(torch.from_numpy(rows))
    assert found.numpy() == pytest.approx(expected, abs=1e-6)


def test_unit_length_of_nothing_is_finite_and_so_is_its_gradient() -> None:
    blank = torch.zeros(1, 3, 2, 2, requires_grad=True)
    found = UnitLength(Flatten())(blank)
    assert found[0, :-1].eq(0).all()
    assert found[0, -1].item() == pytest.approx(np.log(1e-6))
    found.sum().backward()
    assert blank.grad is not None
    assert blank.grad.isfinite().all()
