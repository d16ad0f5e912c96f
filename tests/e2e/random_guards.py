"""Guards of random probes over random networks, for hypothesis."""

from typing import NamedTuple

import hypothesis.strategies as st
import torch
from torch import Tensor, nn

from guard.deep_validation import DeepValidation, StandardisedSum
from guard.guarded import GuardedClassifier
from guard.one_class_svm import OneClassSVMs, Solution
from guard.probes import (
    ENERGY,
    INPUT,
    Flatten,
    Grid,
    Standardisation,
    Statistics,
    UnitLength,
    Whitening,
    watch,
)
from guard.validators import DistanceValidator, Energy, Validator
from tests.e2e.random_networks import IMAGES, Draw, random_network


class Random(NamedTuple):
    """A guard over a random network, and the name of the layer that no graph can hold, if any."""

    guarded: GuardedClassifier
    images: Tensor
    wrong: str | None


@st.composite
def random_guards(draw: Draw) -> Random:
    """Draw a network, its images, and a guard with up to three probes."""
    model, images, classes, wrong = random_network(draw)
    wronged = model.body[-1] if wrong is not None else None
    if wronged is not None:
        model.body[-1] = nn.Identity()  # for it runs on no batch of this size
    detector = _detector(draw, model, images, classes)
    if wronged is not None:
        model.body[-1] = wronged
    return Random(GuardedClassifier(model, detector).eval(), images, wrong)


def _detector(draw: Draw, model: nn.Module, images: Tensor, classes: int) -> DeepValidation:
    names = [name for name, _ in model.named_modules() if name]
    with torch.no_grad(), watch(model, names) as outputs:
        logits = model(images)
    seen = {INPUT: images, ENERGY: logits, **outputs}
    known = [
        name
        for name, found in seen.items()
        if isinstance(found, Tensor) and 1 < found.ndim < 5 and len(found) == IMAGES
    ]
    layers = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
    label = logits.argmax(1)
    validators = [
        Energy(logits.logsumexp(1).quantile(0.9).expand(classes).clone())
        if layer == ENERGY
        else _validator(draw, layer, seen[layer], classes)
        for layer in layers
    ]
    detector = DeepValidation(validators)
    with torch.no_grad():
        discrepancy = detector(seen, label).discrepancy
        if draw(st.booleans()):
            scale = 1 / (discrepancy.std(0) + 0.1)
            table = torch.stack([discrepancy.mean(0), scale])[:, :, None].repeat(1, 1, classes)
            detector.joining = StandardisedSum(table[0], table[1], torch.rand(len(layers)) + 0.5)
        if draw(st.booleans()):  # thresholds per class
            detector.offset, detector.group = torch.randn(classes) / 2, torch.arange(classes)
        score = detector.joint(discrepancy, label)
    detector.calibration, order = score.sort()
    detector.calibration_group = detector.group[label[order]]
    # Between two images, so that no verdict is a matter of rounding.
    detector.threshold = detector.calibration[IMAGES // 2 - 1 : IMAGES // 2 + 1].mean(0, True)
    return detector


def _validator(draw: Draw, layer: str, activation: Tensor, classes: int) -> Validator:
    reduction: nn.Module = draw(
        st.sampled_from((Flatten(), Grid(2), Statistics(2 if activation.ndim == 3 else 1), Grid(3)))
    )
    if draw(st.booleans()):
        reduction = UnitLength(reduction)
    with torch.no_grad():
        features = reduction(activation)
    mean = features.mean(0)
    scale = 1 / (features.std(0) + 1e-2 * features.square().mean().sqrt() + 1e-6)
    scaling: Standardisation | Whitening = Standardisation(mean, scale)
    if draw(st.booleans()):
        turn = torch.randn(len(mean), min(8, len(mean))) / len(mean) ** 0.5
        scaling = Whitening(mean, scale.unsqueeze(1) * turn)
    rows = scaling(features).detach().double().numpy()
    solutions = [
        Solution(rows[at::classes][: 3 + at % 4], *_weights(3 + at % 4, len(rows[at::classes])))
        for at in range(classes)
    ]
    gamma = 1 / rows.shape[1]
    svms = OneClassSVMs.from_solutions([one._replace(gamma=gamma) for one in solutions])
    return draw(st.sampled_from((Validator, DistanceValidator)))(layer, reduction, scaling, svms)


def _weights(wanted: int, present: int) -> tuple[object, float, float]:
    return torch.ones(min(wanted, present), dtype=torch.float64).numpy(), 0.5, 1.0
