"""Fitting Deep Validation from first to last."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from guard.deep_validation import DeepValidation, Validator
from guard.errors import BadInput
from guard.probes import require_layers
from guard.progress import track
from offline.datasets import ImageSet
from offline.fitting.blocks import block_layers
from offline.fitting.calibration import calibrate
from offline.fitting.features import collect_features
from offline.fitting.scaling import fit_scaling
from offline.fitting.settings import FitSettings
from offline.fitting.svms import fit_svms

__all__ = ["fit_deep_validation"]


def fit_deep_validation(
    model: nn.Module,
    fit_set: ImageSet,
    calibration_set: ImageSet,
    settings: FitSettings,
    seed: int,
) -> DeepValidation:
    """Fit one one-class SVM per watched layer and class, then calibrate (Algorithm 1).

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
        layers = _layers(model, fit_set, settings)
        features = collect_features(model, fit_set, layers, settings, seed, Path(folder))
        scalings = [
            fit_scaling(one, settings) for one in track(features, "Scaling features", len(layers))
        ]
        svms = fit_svms(features, scalings, settings)
        parts = zip(layers, features, scalings, svms, strict=True)
        detector = DeepValidation(
            [Validator(layer, one.reduction, scaling, svm) for layer, one, scaling, svm in parts]
        )
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        detector.to(device)
        calibrate(model, detector, calibration_set, settings, seed)
    return detector.eval()


def _layers(model: nn.Module, fit_set: ImageSet, settings: FitSettings) -> list[str]:
    if settings.layers != "auto":
        require_layers(model, settings.layers)
        return list(settings.layers)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    return block_layers(model, fit_set.fetch(torch.arange(min(2, len(fit_set)))).to(device))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
