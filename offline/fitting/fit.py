"""Fitting Deep Validation from first to last."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from jaxtyping import Float
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from guard.deep_validation import DeepValidation
from guard.errors import BadInput
from guard.probes import ENERGY, Standardisation, Whitening, require_layers
from guard.progress import track
from guard.validators import DistanceValidator, Energy, Validator
from offline.datasets import ImageSet
from offline.fitting.blocks import block_layers
from offline.fitting.calibration import calibrate
from offline.fitting.features import Features, collect_features
from offline.fitting.scaling import fit_scaling
from offline.fitting.settings import FitSettings
from offline.fitting.svms import fit_svms

__all__ = ["fit_deep_validation", "watched_layers"]


def fit_deep_validation(
    model: nn.Module,
    fit_set: ImageSet,
    calibration_set: ImageSet,
    settings: FitSettings,
    seed: int,
) -> DeepValidation:
    """Fit one one-class SVM per watched layer and class, then calibrate (Algorithm 1).

    The layer `energy` has no SVM: see `guard.deep_validation.Energy`.

    Args:
        model: images [batch, channel, height, width] in [0, 1] to logits [batch, class]; it runs in
            evaluation mode and is left as it was.
        fit_set: what the model was trained on; only what it classifies correctly is used.
        calibration_set: clean images that took no part in training.
        settings: layers, reduction, SVMs, joint, false-alarm rate.
        seed: draws the images of each class and the parts of the calibration set.

    Returns:
        The detector, on the model's device.

    Raises:
        BadInput: a layer does not exist, the output is not [batch, class], a class has no correctly
            classified image, or there are too few calibration images for the false-alarm rate.
    """
    if fit_set.classes != calibration_set.classes:
        raise BadInput("calibration: its classes are not those of the fit set")
    with _evaluating(model), TemporaryDirectory(prefix="cornerguard-") as folder:
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        few = fit_set.fetch(torch.arange(min(2, len(fit_set)))).to(device)
        layers = watched_layers(model, few, settings)
        features = collect_features(model, fit_set, layers, settings, seed, Path(folder))
        detector = DeepValidation(_validators(layers, features, settings))
        detector.to(device)
        calibrate(model, detector, calibration_set, settings, seed)
    return detector.eval()


def watched_layers(
    model: nn.Module, images: Float[Tensor, "b c h w"], settings: FitSettings
) -> list[str]:
    """Name the layers that the settings ask for, on a model in evaluation mode.

    Raises:
        BadInput: a layer does not exist, or the model's output is not [batch, class].
    """
    if settings.layers != "auto":
        require_layers(model, settings.layers)
        return list(settings.layers)
    image, *blocks = block_layers(model, images)
    blocks = blocks[-(settings.last_blocks or len(blocks)) :]
    return [image, *blocks, *([ENERGY] if settings.joint == "standardised" else [])]


def _validators(
    layers: Sequence[str], features: Sequence[Features], settings: FitSettings
) -> list[Validator | Energy]:
    """Fit each layer's validator, in the order of the layers."""
    seen = dict(zip(layers, features, strict=True))
    made: dict[str, Validator | Energy] = {}
    if ENERGY in seen:
        made[ENERGY] = Energy(_surest(seen.pop(ENERGY)))
    if seen:
        scalings = _scalings(list(seen.values()), settings)
        svms = fit_svms(list(seen.values()), scalings, settings)
        kind = DistanceValidator if settings.joint == "sum" else Validator
        for (layer, one), scaling, svm in zip(seen.items(), scalings, svms, strict=True):
            made[layer] = kind(layer, one.reduction, scaling, svm)
    return [made[layer] for layer in layers]


def _scalings(
    layers: Sequence[Features], settings: FitSettings
) -> list[Standardisation | Whitening]:
    """Scale several layers at once, in threads, for BLAS and LAPACK run outside of Python's lock.

    Several threads of theirs for one layer took twice the processor time and were no faster.
    """
    parallel = Parallel(n_jobs=settings.jobs, require="sharedmem", return_as="generator")
    with threadpool_limits(1):
        made = parallel(delayed(fit_scaling)(one, settings) for one in layers)
        return list(track(made, "Scaling features", len(layers)))


def _surest(logits: Features) -> Float[Tensor, " class"]:
    """Return the largest log Σ exp(logit) of each class."""
    rows = (torch.from_numpy(np.array(logits.of_class(at))) for at in range(len(logits.counts)))
    return torch.stack([one.logsumexp(dim=1).max() for one in rows])


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
