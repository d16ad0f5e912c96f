"""`layers: auto` on networks of many makes, with random weights."""

import pytest
import torch
from torch import nn
from torchvision import models

from guard.errors import BadInput
from offline.fitting.blocks import block_layers
from offline.networks import Normalised, seven_layer_cnn, small_resnet

STAGES = ["stem", "stages.stage1", "stages.stage2", "stages.stage3", "stages.stage4"]
RESIDUAL = [f"layer{stage}.{block}" for stage in range(1, 5) for block in range(2)]


@pytest.mark.parametrize(
    ("model", "channels", "expected"),
    [
        (small_resnet(5), 3, STAGES),
        (Normalised(small_resnet(5), (0.5,), (0.5,)), 3, [f"model.{name}" for name in STAGES]),
        (seven_layer_cnn(), 1, ["conv1", "conv2", "conv3", "conv4", "dense1", "dense2"]),
        (models.resnet18(), 3, ["maxpool", *RESIDUAL]),
        (models.mobilenet_v3_small(), 3, [*(f"features.{i}" for i in range(13)), "classifier.2"]),
        (models.squeezenet1_1(), 3, [f"features.{i}" for i in (2, 3, 4, 6, 7, 9, 10, 11, 12)]),
        (
            models.densenet121(),
            3,
            [
                f"features.{name}"
                for name in (
                    *("pool0", "denseblock1", "transition1", "denseblock2"),
                    *("transition2", "denseblock3", "transition3", "denseblock4"),
                )
            ],
        ),
        (
            models.VisionTransformer(64, 32, 3, 2, 16, 32, num_classes=5),
            3,
            ["encoder.dropout", *(f"encoder.layers.encoder_layer_{i}" for i in range(3))],
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_blocks_in_the_order_in_which_they_run(
    model: nn.Module, channels: int, expected: list[str]
) -> None:
    size = 28 if channels == 1 else 64
    images = torch.rand(2, channels, size, size)
    assert block_layers(model.eval(), images) == ["input", *expected]


def test_single_layers_are_grouped_in_the_order_of_the_calls() -> None:
    class Plain(nn.Module):
        """Registered in another order than it runs, as many are."""

        def __init__(self) -> None:
            super().__init__()
            self.head, self.norm = nn.Linear(4, 3), nn.BatchNorm2d(4)
            self.conv, self.drop = nn.Conv2d(1, 4, 3), nn.Dropout()
            self.unused = nn.Linear(4, 4)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(self.drop(self.norm(self.conv(images)).mean((2, 3))))

    assert block_layers(Plain().eval(), torch.rand(2, 1, 8, 8)) == ["input", "drop"]


def test_a_model_without_logits_is_refused() -> None:
    with pytest.raises(BadInput, match=r"its output is \[2, 4, 6, 6\]; logits"):
        block_layers(nn.Sequential(nn.Conv2d(1, 4, 3)), torch.rand(2, 1, 8, 8))
