"""Random small networks for hypothesis."""

from collections.abc import Callable, Sequence

import hypothesis.strategies as st
import torch
from hypothesis import assume
from torch import Tensor, nn

IMAGES = 80
LARGEST = 600
"""Values of one activation, per image: larger ones cost time and show nothing more."""

Draw = Callable[[st.SearchStrategy], object]


class Residual(nn.Module):
    def __init__(self, inner: nn.Module, in_place: bool) -> None:
        super().__init__()
        self.inner, self.in_place = inner, in_place

    def forward(self, maps: Tensor) -> Tensor:
        found = self.inner(maps)
        if self.in_place:
            found += maps
            return found
        return found + maps


class Side(nn.Module):
    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([branch(maps) for branch in self.branches], dim=1)


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, 2, 1), nn.Conv2d(2, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        weights = self.down(maps.mean((2, 3), keepdim=True)).relu()
        return maps * self.up(weights).sigmoid()


class Attention(nn.Module):
    """Tokens of a map, attended to, and a map again."""

    def __init__(self, channels: int, heads: int, encoder: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.encoder = (
            nn.TransformerEncoderLayer(channels, heads, 2 * channels, batch_first=True)
            if encoder
            else None
        )
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)

    def forward(self, maps: Tensor) -> Tensor:
        tokens = self.norm(maps.flatten(2).transpose(1, 2))
        if self.encoder is not None:
            tokens = self.encoder(tokens)
        attended, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return (tokens + attended).transpose(1, 2).reshape(maps.shape)


class Branching(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps if maps.mean() > 1e9 else maps * 2


class FixedBatch(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.reshape(2, -1, *maps.shape[1:]).flatten(0, 1)[:2]


class BatchStatistics(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps - maps.mean(0, keepdim=True)


WRONG = (Branching, FixedBatch, BatchStatistics)
UNSUPPORTED = ("AdaptiveMaxPool2d",)
"""What ONNX has no operation for, unless the input is a multiple of the output."""

ACTIVATIONS: Sequence[Callable[[bool], nn.Module]] = (
    lambda inplace: nn.ReLU(inplace),
    lambda inplace: nn.LeakyReLU(0.1, inplace),
    lambda inplace: nn.ELU(inplace=inplace),
    lambda inplace: nn.SiLU(inplace),
    lambda inplace: nn.Hardswish(inplace),
    lambda inplace: nn.ReLU6(inplace),
    lambda inplace: nn.Mish(inplace),
    lambda inplace: nn.GELU("tanh" if inplace else "none"),
    lambda _: nn.PReLU(),
    lambda _: nn.Softplus(),
    lambda _: nn.Tanh(),
    lambda _: nn.Sigmoid(),
    lambda _: nn.Hardsigmoid(),
    lambda _: nn.Softsign(),
)
NORMS: Sequence[Callable[[tuple[int, int, int]], nn.Module]] = (
    lambda shape: nn.BatchNorm2d(shape[0]),
    lambda shape: nn.GroupNorm(shape[0] if shape[0] % 2 else 2, shape[0]),
    lambda shape: nn.LayerNorm(shape),
    lambda shape: nn.InstanceNorm2d(shape[0], affine=True),
    lambda shape: nn.LocalResponseNorm(3),
)


def random_network(draw: Draw) -> tuple[nn.Sequential, Tensor, int, str | None]:
    """Draw a network of up to five layers and its images; return the number of its classes too.

    The last is the name of the layer that no graph can hold, if there is one.
    """
    seed = draw(st.integers(0, 2**31 - 1))
    torch.manual_seed(seed)
    size = draw(st.integers(5, 13)), draw(st.integers(5, 13))
    small = torch.rand(IMAGES, draw(st.integers(1, 4)), 4, 4)
    images = nn.functional.interpolate(small, size, mode="bicubic").clamp(0, 1)
    classes = draw(st.integers(2, 12))
    layers, maps, wrong = [], images, None
    for _ in range(draw(st.integers(1, 5))):
        found = _next(draw, maps)
        if found is not None:
            layers.append(found[0])
            maps = found[1]
    if draw(st.integers(0, 11)) == 7:
        kind = draw(st.sampled_from(WRONG))
        layers.append(kind())
        wrong = f"body.{len(layers) - 1}"
    pooled = draw(st.booleans())
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1) if pooled else nn.Identity(),
        nn.Flatten(),
        nn.Linear(maps[0].numel() if not pooled else maps.shape[1], classes),
    )
    model = nn.Sequential()
    model.add_module("body", nn.Sequential(*layers))
    model.add_module("head", head)
    model.eval()
    # The head is spread without the layer that cannot run on any batch; it changes no shape.
    _spread(nn.Sequential(*(one for one in layers if not isinstance(one, WRONG)), head), images)
    return model, images, classes, wrong


def _next(draw: Draw, maps: Tensor) -> tuple[nn.Module, Tensor] | None:
    """Draw a layer and run it; None where it does not fit its input."""
    layer = draw(st.sampled_from(KINDS))(draw, tuple(maps.shape[1:]))
    if isinstance(layer, nn.BatchNorm2d):
        layer.running_mean, layer.running_var = maps.mean((0, 2, 3)), maps.var((0, 2, 3)) + 1e-2
    try:
        with torch.no_grad():
            found = layer.eval()(maps.clone())
    except (RuntimeError, ValueError):
        return None
    return (layer, found) if 0 < found[0].numel() <= LARGEST else None


def _convolution(draw: Draw, shape: tuple[int, int, int]) -> nn.Module:
    groups = draw(st.sampled_from([g for g in (1, 2, shape[0]) if shape[0] % g == 0]))
    transposed = draw(st.integers(0, 4)) == 0
    common = {
        "kernel_size": (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        "stride": draw(st.integers(1, 2)),
        "padding": draw(st.integers(0, 1)),
        "dilation": draw(st.integers(1, 2)),
        "bias": draw(st.booleans()),
        "groups": groups,
    }
    width = groups * draw(st.integers(1, 3))
    if transposed:
        return nn.ConvTranspose2d(shape[0], width, **common)
    mode = draw(st.sampled_from(("zeros", "reflect", "replicate", "circular")))
    return nn.Conv2d(shape[0], width, padding_mode=mode, **common)


def _same(draw: Draw, shape: tuple[int, int, int]) -> nn.Module:
    mixed = nn.Conv2d(shape[0], shape[0], 3, padding="same")
    return nn.Sequential(mixed, _norm(draw, shape), _activation(draw, shape))


def _norm(draw: Draw, shape: tuple[int, int, int]) -> nn.Module:
    return draw(st.sampled_from(NORMS))(shape)


def _activation(draw: Draw, shape: tuple[int, int, int]) -> nn.Module:
    return draw(st.sampled_from(ACTIVATIONS))(draw(st.booleans()))


def _pool(draw: Draw, shape: tuple[int, int, int]) -> nn.Module:
    size, stride, ceil = draw(st.integers(2, 3)), draw(st.integers(1, 3)), draw(st.booleans())
    padding, target = draw(st.integers(0, 1)), (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    inside = draw(st.booleans())
    return draw(
        st.sampled_from(
            (
                nn.MaxPool2d(size, stride, padding, ceil_mode=ceil),
                nn.AvgPool2d(size, stride, padding, ceil, inside),
                nn.AdaptiveAvgPool2d(target),
                nn.AdaptiveMaxPool2d(target),
            )
        )
    )


def _resize(draw: Draw, shape: tuple[int, int, int]) -> nn.Module:
    return draw(
        st.sampled_from(
            (
                nn.Upsample(scale_factor=2, mode="nearest"),
                nn.Upsample(size=(5, 7), mode="bilinear", align_corners=draw(st.booleans())),
                nn.ReflectionPad2d((1, 0, 2, 1)),
                nn.ZeroPad2d((0, 1, -1, 2)),
                nn.PixelUnshuffle(2),
                nn.ChannelShuffle(shape[0]),
                nn.Dropout2d(0.5),
            )
        )
    )


def _attention(draw: Draw, shape: tuple[int, int, int]) -> nn.Module:
    heads = 2 if shape[0] % 2 == 0 else 1
    return Attention(shape[0], heads, draw(st.booleans()))


def _residual(draw: Draw, shape: tuple[int, int, int]) -> nn.Module:
    return Residual(_same(draw, shape), draw(st.booleans()))


def _side(draw: Draw, shape: tuple[int, int, int]) -> nn.Module:
    pool = nn.MaxPool2d(3, 1, 1)
    return Side([nn.Conv2d(shape[0], 2, 1), _same(draw, shape), pool])


def _excite(draw: Draw, shape: tuple[int, int, int]) -> nn.Module:
    return SqueezeExcite(shape[0])


KINDS = (
    *[_convolution] * 4,
    *[_activation] * 2,
    *[_norm] * 2,
    *[_pool] * 2,
    *(_resize, _attention, _residual, _side, _excite),
)


def _spread(model: nn.Module, images: Tensor) -> None:
    """Standardise each logit over the images, so that each class is the largest somewhere."""
    head = model[-1][-1]
    with torch.no_grad():
        logits = model(images.clone())
        # An average over an instance norm is 0 for every image: then all that follows is rounding.
        assume(logits.std(0).min() > 1e-4 * logits.abs().max())
        deviation = logits.std(0) + 1e-2 * logits.std() + 1e-6
        head.bias.copy_((head.bias - logits.mean(0)) / deviation)
        head.weight.div_(deviation.unsqueeze(1))
