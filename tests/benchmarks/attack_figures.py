"""What attacks and samples cost a classifier, how much their images can teach, at what price."""

from typing import Any

import torch
from torch import Tensor, nn

from offline.counterexamples import (
    Counterexamples,
    binary_membership,
    fractional_membership,
    information_worth,
    normalised_accuracy,
)
from offline.counterexamples.sampling.equal_renders import compare_at_equal_renders
from offline.counterexamples.sampling.sampling_settings import LARGE, SMALL, SamplingSettings
from offline.rendering import Rasterizer
from tests.benchmarks.hunts import Hunted, hunted
from tests.benchmarks.semantic_subject import SEED, Subject

__all__ = ["attack_figures", "sampling_figures"]

SAMPLINGS = {
    f"{method}_{word}": SamplingSettings(method=method, ranges={"pose": reach}, seed=SEED)
    for method in ("random", "halton")
    for word, reach in (("large", LARGE), ("small", SMALL))
}


def attack_figures(subject: Subject, attack: str) -> dict[str, Any]:
    """Attack the scenes that judge; sample them by as many renders."""
    hunt = hunted(subject.model, subject.judged, subject.rows, subject.attack(attack))
    size = subject.judged.shape[1]
    equal = {}
    for name, settings in SAMPLINGS.items():
        compared = compare_at_equal_renders(
            Rasterizer(size, size, 1), subject.model, hunt.found, settings
        )
        left = int((~hunt.found.already_wrong).sum()) - compared.sampling
        equal[name] = {
            **compared._asdict(),
            "ratio": round(compared.ratio, 3),
            "accuracy": left / len(hunt.found),
        }
    return {
        **_figures(subject.model, hunt),
        "accuracy_equal_budget_random": equal["random_small"]["accuracy"],
        "accuracy_equal_budget_halton": equal["halton_small"]["accuracy"],
        "equal_renders": equal,
    }


def sampling_figures(subject: Subject) -> dict[str, Any]:
    """Sample every scene N = 5 times and choose as the seeds do (000, tables 1, 3, 14 and 16)."""
    return {
        name: _figures(subject.model, hunted(subject.model, subject.judged, subject.rows, settings))
        for name, settings in SAMPLINGS.items()
    }


def _figures(model: nn.Module, hunt: Hunted) -> dict[str, Any]:
    found = hunt.found
    successes, classes = int(found.success.sum()), int(found.labels.max()) + 1
    each, overall = normalised_accuracy(found.predicted_after, found.labels, classes)
    each_seconds = hunt.seconds_each
    return {
        "accuracy_benign": float((~found.already_wrong).double().mean()),
        "accuracy_attacked": overall,
        "accuracy_by_class": [round(value, 4) for value in each.tolist()],
        "found": successes,
        "information_worth": _worth(model, found.images_after, found.labels),
        "information_worth_benign": _worth(model, found.images_before, found.labels),
        "renders_per_success": round(int(found.renders.sum()) / successes, 3)
        if successes
        else None,
        "seconds_per_counterexample": None if each_seconds is None else round(each_seconds, 4),
        "pose_moved_median": _moved(found),
    }


def _worth(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the information worth without realism (000, section 3.1), in nats."""
    with torch.no_grad():
        logits = torch.cat([model(part.float() / 255) for part in images.split(256)])
    members = {
        "binary": binary_membership(logits.argmax(dim=1), logits.shape[1]),
        "fractional": fractional_membership(logits),
    }
    return {name: round(information_worth(each, labels), 4) for name, each in members.items()}


def _moved(found: Counterexamples) -> float | None:
    """Return the median angle in radians that the counterexamples' pose was turned by."""
    moved = (found.after.pose - found.before.pose)[found.success].flatten(1).norm(dim=1)
    return round(float(moved.median()), 4) if len(moved) else None
