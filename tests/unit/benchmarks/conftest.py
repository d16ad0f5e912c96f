"""What the benchmarks are run on here."""

from collections import OrderedDict

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from offline.datasets import ArrayImages, split
from offline.fitting import FitSettings
from offline.hardening import TrainSettings, train
from offline.sources import Data
from tests.benchmarks.subjects import Subject


@pytest.fixture(scope="session")
def subject() -> Subject:
    """Digits of 8x8 pixels and a tiny network, which the benchmarks only look at."""
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
