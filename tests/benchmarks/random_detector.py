"""A detector of the sizes that fitting with given settings gives, with random values.

What depends on sizes alone, latency and the size of a file, is measured with it: fitting hundreds
of classes of noise would tell no more.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from guard.deep_validation import DeepValidation, StandardisedSum
from guard.one_class_svm import OneClassSVMs, Solution
from guard.probes import ENERGY, Standardisation, Whitening
from guard.validators import Energy, Validator
from offline.fitting import FitSettings
from offline.fitting.features import activations_of, reduction_for
from offline.fitting.fit import watched_layers

__all__ = ["random_detector", "watched"]

CALIBRATION_IMAGES = 5000


def random_detector(
    model: nn.Module, images: Float[Tensor, "b c h w"], settings: FitSettings
) -> DeepValidation:
    """Build a detector for a model in evaluation mode, on images of the size that it takes."""
    layers = watched_layers(model, images, settings)
    with torch.no_grad():
        classes = model(images).shape[1]
    seen, _ = activations_of(model, images, layers, classes)
    draw = np.random.default_rng(0)
    detector = DeepValidation(
        [
            Energy(torch.full((classes,), 20.0))
            if layer == ENERGY
            else _validator(layer, seen[layer], images.shape, classes, settings, draw)
            for layer in layers
        ]
    )
    table = torch.ones(len(layers), classes)
    detector.joining = StandardisedSum(table, table.clone(), torch.ones(len(layers)))
    detector.calibration = torch.randn(CALIBRATION_IMAGES).sort().values
    detector.calibration_group = torch.zeros(CALIBRATION_IMAGES, dtype=torch.int64)
    detector.threshold = torch.zeros(1)
    return detector


def watched(detector: DeepValidation) -> dict[str, Any]:
    """Say of each layer what its validator's sizes are."""
    found: dict[str, Any] = {}
    for validator in detector.validators:
        if isinstance(validator, Validator):
            classes, vectors, augmented = validator.svms.vectors.shape
            found[validator.layer] = {
                "features": len(validator.scaling.mean),
                "components": augmented - 2,
                "classes": classes,
                "vectors_per_class": vectors,
            }
        else:
            found[str(validator.layer)] = {}
    return found


def _validator(
    layer: str,
    activation: Tensor,
    shape: torch.Size,
    classes: int,
    settings: FitSettings,
    draw: np.random.Generator,
) -> Validator:
    reduction = reduction_for(layer, settings, activation, shape)
    features = reduction(activation).shape[1]
    scaling: Standardisation | Whitening = Standardisation(
        torch.zeros(features), torch.ones(features)
    )
    components = features
    if settings.scaling == "whiten":
        components = min(features, settings.components)
        scaling = Whitening(torch.zeros(features), torch.randn(features, components) / features)
    vectors = min(settings.max_vectors or settings.max_per_class, settings.max_per_class)
    gamma = 2 / components
    solutions = [
        Solution(draw.normal(size=(vectors, components)), np.ones(vectors), 0.5, gamma)
        for _ in range(classes)
    ]
    return Validator(layer, reduction, scaling, OneClassSVMs.from_solutions(solutions))
