"""The two baselines that are ours, against closed forms, and the list of the others."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytorch_ood import detector as ood
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from offline.datasets import ArrayImages
from offline.networks import seven_layer_cnn, small_resnet
from tests.benchmarks.baselines import (
    BANDWIDTHS,
    ClassKernelDensity,
    feature_squeezing,
    held_out_bandwidth,
    median_smoothing,
    non_local_means,
    reduced_depth,
)
from tests.benchmarks.observation import observe, observe_training, parts_of
from tests.benchmarks.peers import LEFT_OUT, PEERS, fit_peers, peer_scores


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("bits", "value", "wanted"),
    [(1, 0.49, 0.0), (1, 0.51, 1.0), (2, 0.4, 1 / 3), (5, 0.5, 16 / 31), (8, 128 / 255, 128 / 255)],
)
def test_reduced_depth_rounds_to_the_nearest_level(bits: int, value: float, wanted: float) -> None:
    found = reduced_depth(torch.full((1, 1, 2, 2), value), bits)
    assert found.flatten().tolist() == pytest.approx([wanted] * 4)


def test_median_smoothing_takes_the_upper_median_of_each_channels_window() -> None:
    images = _random(2, 3, 5, 4)
    padded = torch.from_numpy(np.pad(images.numpy(), ((0, 0), (0, 0), (1, 0), (1, 0)), "symmetric"))
    windows = padded.unfold(2, 2, 1).unfold(3, 2, 1).flatten(4)
    torch.testing.assert_close(median_smoothing(images, 2), windows.sort(-1).values[..., 2])


def test_non_local_means_takes_noise_off_and_keeps_each_channels_colour() -> None:
    colour = torch.tensor([0.2, 0.5, 0.8]).view(1, 3, 1, 1).expand(2, 3, 16, 16)
    noisy = colour + 0.02 * (_random(2, 3, 16, 16) - 0.5)
    smoothed = non_local_means(noisy, search=11, patch=3, strength=4)
    assert (smoothed.std((2, 3)) < 0.5 * noisy.std((2, 3))).all()
    torch.testing.assert_close(smoothed.mean((2, 3)), colour.mean((2, 3)), atol=0.01, rtol=0)


def test_feature_squeezing_is_the_largest_change_of_the_softmax() -> None:
    """Two classes with logits (x, 0): the L1 distance is 2 |σ(x) - σ(squeezed x)|."""
    values = torch.tensor([0.0, 0.2, 0.45, 0.7, 1.0])
    images = values.view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()

    def logits_of(batch: Tensor) -> Tensor:
        mean = batch.mean((1, 2, 3))
        return torch.stack([mean, torch.zeros_like(mean)], dim=1)

    def distance(squeezed: Tensor) -> Tensor:
        return 2 * (values.sigmoid() - squeezed.sigmoid()).abs()

    def halved(batch: Tensor) -> Tensor:
        return batch / 2

    found = feature_squeezing(logits_of, images, [lambda batch: reduced_depth(batch, 1), halved])
    torch.testing.assert_close(found, torch.maximum(distance(values.round()), distance(values / 2)))


def test_kernel_density_is_that_of_the_predicted_class() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(30, 3))
    labels = np.repeat([0, 1], [10, 20])
    queries, predicted = generator.normal(size=(8, 3)), np.array([0, 1] * 4)
    wanted = [
        -np.log(
            np.mean(
                [
                    multivariate_normal.pdf(query, mean=centre, cov=0.49)
                    for centre in features[labels == label]
                ]
            )
        )
        for query, label in zip(queries, predicted, strict=True)
    ]
    density = ClassKernelDensity(torch.from_numpy(features), torch.from_numpy(labels), 2, 0.7)
    found = density(torch.from_numpy(queries), torch.from_numpy(predicted))
    np.testing.assert_allclose(found.numpy(), wanted)


def test_bandwidth_grows_with_the_features() -> None:
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(400, 2)))
    labels = torch.arange(400) % 2
    bandwidth = held_out_bandwidth(features, labels, 2)
    at = int(np.flatnonzero(np.isclose(BANDWIDTHS, bandwidth))[0])
    step = BANDWIDTHS[1] / BANDWIDTHS[0]
    assert held_out_bandwidth(features * step, labels, 2) == pytest.approx(BANDWIDTHS[at + 1])
    assert 0.1 < bandwidth < 1  # Scott's rule for 160 points: 0.43


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (seven_layer_cnn, (1, 28, 28)),
        (lambda: small_resnet(10, width=4), (3, 16, 16)),
    ],
)
def test_parts_make_up_the_model(
    build: Callable[[], nn.Module], shape: tuple[int, int, int]
) -> None:
    model = build().eval()
    parts, images = parts_of(model), _random(3, *shape)
    seen = observe(parts, images)
    with torch.no_grad():
        torch.testing.assert_close(seen.logits, model(images))
        torch.testing.assert_close(parts.encoder(images), seen.features)
        torch.testing.assert_close(parts.tail(parts.backbone(images)), seen.logits)


def test_every_detector_of_the_library_is_a_peer_or_is_left_out_with_a_reason() -> None:
    classes = {name for name in ood.__all__ if isinstance(getattr(ood, name), type)}
    assert classes == (PEERS.keys() | LEFT_OUT.keys()) - {"feature squeezing", "kernel density"}


def test_peers_score_each_image_and_failures_keep_their_name() -> None:
    pixels = (_random(45, 1, 28, 28) * 255).byte()
    images = ArrayImages(pixels, torch.arange(45) % 10, tuple("0123456789"))
    torch.manual_seed(0)
    model = seven_layer_cnn().eval()
    parts = parts_of(model)
    fitted = fit_peers(parts, observe_training(parts, images, images, 45, 0))
    tested = _random(7, 1, 28, 28, seed=1)
    scores = peer_scores(fitted, parts, [tested[:4], tested[4:]])
    assert set(scores) == PEERS.keys() - fitted.failed.keys()
    assert fitted.failed["KNN"] == "ValueError: k=50 exceeds the number of ID samples (45)"
    assert all(one.shape == (7,) for one in scores.values())
    with torch.no_grad():
        largest = model(tested).softmax(1).amax(1)
    np.testing.assert_allclose(scores["MaxSoftmax"], -largest.numpy(), rtol=1e-5)
    assert np.ptp(scores["MCD"]) > 0  # dropout is on while it samples
    assert not model.training
