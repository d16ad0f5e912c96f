"""The benchmark of detection from first to last, on digits of 8x8 pixels and a tiny network."""

from collections import OrderedDict

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from offline.datasets import ArrayImages, split
from offline.fitting import FitSettings
from offline.hardening import TrainSettings, train
from offline.sources import Data
from tests.benchmarks.detection import benchmark
from tests.benchmarks.peers import PEERS
from tests.benchmarks.subjects import Subject


@pytest.fixture(scope="module")
def subject() -> Subject:
    found = load_digits()
    pixels = torch.from_numpy(found.images * 255 / 16).byte().unsqueeze(1)
    whole = ArrayImages(pixels, torch.from_numpy(found.target).long(), tuple("0123456789"))
    rest, test = split(whole, 0.3, 0)
    data = Data(*split(rest, 0.3, 0), test)
    torch.manual_seed(0)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        block=nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2)),
        flatten=nn.Flatten(),
        dense=nn.Sequential(nn.Linear(144, 32), nn.ReLU()),
        dropout=nn.Dropout(0.2),
        head=nn.Linear(32, 10),
    )
    model = nn.Sequential(layers)
    train(model, data.train, TrainSettings(epochs=10, learning_rate=0.05, batch_size=32), 0)
    return Subject(model, data, FitSettings(layers=("block", "dense"), jobs=1))


def test_every_detector_is_measured_on_the_same_images(subject: Subject) -> None:
    figures = benchmark(subject, seeds=2, images=30)
    assert figures["accuracy"] > 0.9
    assert figures["peers"].keys() == PEERS.keys()
    assert not figures["peers_failed"]
    assert 0.8 < figures["overall_auc"] <= 1
    assert figures["best_peer"]["auc"] == max(figures["peers"].values())
    for border in ("zeros", "reflection"):
        single = figures["single_validators"][border]
        assert {"block", "dense"} <= single.keys()
        own = figures["per_transformation"][border].keys()
        assert own == figures["peers_per_transformation"]["KNN"][border].keys() - {"overall"}
    rates = [figures["realised_fpr"][rate] for rate in ("1%", "3%", "7%")]
    assert rates == sorted(rates)
    assert rates[2] < 0.2
    assert figures["deviation"]["overall_auc"] > 0
