"""What attacks and samples cost a classifier, how much their images can teach, at what price."""

from typing import Any

import torch
from torch import nn

from offline.counterexamples.measures.attack_measures import attack_measures
from offline.counterexamples.measures.realism import measure_realism
from offline.counterexamples.measures.realism_settings import RealismSettings
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
    found, classes = hunt.found, int(hunt.found.labels.max()) + 1
    realism = measure_realism(
        found.images_before,
        found.images_after,
        found.labels,
        classes,
        RealismSettings(),
        torch.device("cpu"),
    )
    measures = attack_measures(model, found, realism)
    return {
        "accuracy_benign": measures.pop("accuracy_before"),
        "accuracy_attacked": measures.pop("accuracy_after"),
        **measures,
        "seconds_per_counterexample": hunt.seconds_each,
    }
