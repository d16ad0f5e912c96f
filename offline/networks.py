"""Reference networks, small enough to train on two cores; a recipe names others by factory."""

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn, tensor

__all__ = ["Normalised", "SmallResNet", "seven_layer_cnn", "small_resnet"]


class Normalised(nn.Module):
    """A model with its normalisation inside the graph: (images - mean) / std, then the model."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b class"]:
        logits: Tensor = self.model((images - self.mean) / self.std)
        return logits


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016)."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, inputs: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        hidden = self.norm1(self.conv1(inputs)).relu()
        outputs: Tensor = (self.norm2(self.conv2(hidden)) + self.shortcut(inputs)).relu()
        return outputs


class SmallResNet(nn.Module):
    """A residual network: stages of doubling width, each at half the resolution of the last."""

    def __init__(self, stem: nn.Sequential, stages: nn.Sequential, head: nn.Linear) -> None:
        super().__init__()
        self.stem = stem
        self.stages = stages
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = head

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b class"]:
        logits: Tensor = self.head(self.pool(self.stages(self.stem(images))).flatten(1))
        return logits


def small_resnet(
    num_classes: int,
    channels: int = 3,
    width: int = 16,
    blocks: int = 1,
    stem_stride: int = 1,
    stages: int = 4,
) -> SmallResNet:
    """Build a small residual network; for 64x64 images a `stem_stride` of 2 quarters its cost."""
    stem = nn.Sequential(
        nn.Conv2d(channels, width, 3, stem_stride, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )
    named: OrderedDict[str, nn.Module] = OrderedDict()
    inside = width
    for stage in range(stages):
        outside, stride = width * 2**stage, 1 if stage == 0 else 2
        for block in range(blocks):
            name = f"stage{stage + 1}" + (f"_{block + 1}" if blocks > 1 else "")
            named[name] = BasicBlock(inside, outside, stride if block == 0 else 1)
            inside = outside
    return SmallResNet(stem, nn.Sequential(named), nn.Linear(inside, num_classes))


def seven_layer_cnn(num_classes: int = 10) -> nn.Sequential:
    """Build the thesis's MNIST network (section 3.4.1): four convolutions, three dense layers.

    Takes [batch, 1, 28, 28]. Each named layer ends with its activation, as its probe wants it.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (inside, outside) in enumerate([(1, 32), (32, 32), (32, 64), (64, 64)], start=1):
        parts: list[nn.Module] = [nn.Conv2d(inside, outside, 3), nn.ReLU()]
        layers[f"conv{number}"] = nn.Sequential(
            *parts, *([nn.MaxPool2d(2)] if number % 2 == 0 else [])
        )
    layers["flatten"] = nn.Flatten()
    layers["dense1"] = nn.Sequential(nn.Linear(64 * 4 * 4, 200), nn.ReLU())
    layers["dropout"] = nn.Dropout(0.5)
    layers["dense2"] = nn.Sequential(nn.Linear(200, 200), nn.ReLU())
    layers["head"] = nn.Linear(200, num_classes)
    return nn.Sequential(layers)
