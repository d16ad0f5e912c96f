"""The benchmark of overhead on a tiny network."""

import torch
from torch import nn

from guard.probes import ENERGY, INPUT
from offline.fitting import FitSettings
from offline.fitting.features import reduction_for
from offline.networks import small_resnet
from tests.benchmarks.guard_overhead import Case, benchmark


def tiny() -> nn.Module:
    return small_resnet(3, width=4)


def test_a_case_is_measured_with_the_sizes_that_its_settings_give() -> None:
    settings = FitSettings(components=7, max_vectors=5)
    figures = benchmark(Case(tiny, (3, 16, 16), 2, settings, 1.5), pairs=4, provider="cpu")
    low, high = figures["quartiles"]
    assert 0 < low <= figures["ratio"] <= high
    assert figures["bare_ms"] > 0
    assert figures["operations"]["added"] > 0
    watched = figures["watched"]
    assert [*watched] == [INPUT, "stem", *(f"stages.stage{at}" for at in range(1, 5)), ENERGY]
    seen = torch.rand(2, 4, 16, 16)
    features = reduction_for("stem", settings, seen, torch.Size([2, 3, 16, 16]))(seen).shape[1]
    assert watched["stem"] == {
        "features": features,
        "components": 7,
        "classes": 3,
        "vectors_per_class": 5,
    }
