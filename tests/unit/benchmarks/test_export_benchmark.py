"""The benchmark of export on a tiny network, and on one that does not export everywhere."""

from typing import Any

import pytest
import torch
from torch import nn

from offline.fitting import FitSettings
from offline.networks import small_resnet
from tests.benchmarks.export import FORMATS, benchmark, summary
from tests.benchmarks.random_guard import photographs, random_guard

SETTINGS = FitSettings(last_blocks=2, components=6, max_vectors=5)


class Branching(nn.Module):
    """Asks for the values of its input, which no captured graph can."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small_resnet(4, width=4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.inner(images)
        return logits if images.sum() > -1 else -logits


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    torch.manual_seed(0)
    return benchmark("tiny", small_resnet(4, width=4).eval(), 32, SETTINGS, pairs=2)


def test_every_format_agrees_and_is_larger_by_the_detector(figures: dict[str, Any]) -> None:
    assert figures["failures"] == []
    assert figures["labels"] > 1
    assert 0.2 < figures["valid_share"] < 0.8
    layers = [one for one in figures["watched"].values() if one]
    assert [(one["components"], one["vectors_per_class"]) for one in layers] == [(6, 5)] * 3
    tables = sum(
        4 * (one["features"] * (6 + 1) + one["classes"] * (5 * (6 + 2) + 6)) for one in layers
    )
    for kind in FORMATS:
        found = figures[kind]
        assert found["parity"]["images"] == 72
        assert max(found["parity"]["logits"], found["parity"]["score"]) <= 1e-4
        added = found["bytes"]["guarded"] - found["bytes"]["bare"]
        assert tables < added < tables + 300_000  # the calibration scores, and the graph itself
        assert found["size_ratio"] == pytest.approx(1 + added / found["bytes"]["bare"], abs=1e-4)
        assert found["export_seconds"] > 0


def test_what_does_not_export_is_named_with_the_reason() -> None:
    torch.manual_seed(0)
    found = benchmark("branching", Branching().eval(), 32, SETTINGS, pairs=2)
    files = ("model.onnx", "model.ts", "model.pt2")
    for file, failure in zip(files, found["failures"], strict=True):
        assert failure.startswith(f"branching {file}: model (Branching): its code goes by the valu")
    assert "onnx" not in found
    assert summary({"branching": found})["parity_failures"] == found["failures"]
    assert summary({"branching": found})["overhead_onnx_max"] is None


def test_the_largest_figures_stand_on_top() -> None:
    def network(bare: int, ratios: tuple[float, float], latency: float) -> dict[str, Any]:
        sizes = [{"bytes": {"bare": bare}, "size_ratio": ratio} for ratio in ratios]
        return {"failures": [], "onnx": {**sizes[0], "ratio": latency}, "pt2": sizes[1]}

    networks = {
        "large": network(60_000_000, (1.1, 1.2), 1.01),
        "larger": network(90_000_000, (1.05, 1.0), 1.04),
        "small": network(6_000_000, (1.9, 1.6), 1.02),
    }
    assert summary(networks) == {
        "parity_failures": [],
        "size_ratio_large_max": 1.2,
        "size_ratio_small_max": 1.9,
        "overhead_onnx_max": 1.04,
    }


def test_the_guard_answers_differently_from_photograph_to_photograph() -> None:
    torch.manual_seed(0)
    images = photographs(120, 32, seed=1)
    assert images.shape == (120, 3, 32, 32)
    assert 0 <= images.min() < 0.2
    assert 0.8 < images.max() <= 1
    assert torch.equal(images, photographs(120, 32, seed=1))
    guarded = random_guard(small_resnet(4, width=4).eval(), images[:60], SETTINGS)
    assert not guarded.training
    with torch.no_grad():
        first, rest = guarded(images[:60]), guarded(images[60:])
    assert float(first.valid.float().mean()) == pytest.approx(0.5, abs=0.02)
    assert len(rest.label.unique()) == 4
    assert 0.1 < float(rest.valid.float().mean()) < 0.9
    spread = rest.score.std()
    assert float((rest.score - guarded.detector.threshold).abs().median()) > 0.1 * float(spread)
