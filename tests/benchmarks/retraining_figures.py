"""What retraining on counterexamples wins back, hybrid tuning, and transfer to another network."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from joblib import Parallel, delayed
from torch import nn

from offline.datasets import ArrayImages, ImageSet
from offline.evaluation.retraining import (
    Hunt,
    Table,
    adaptive_table,
    least_across,
    static_table,
    transfer_table,
)
from offline.hardening import Replaced, counterexamples_only, perturbed_pixels, replace_share
from offline.networks import small_resnet
from tests.benchmarks.hunts import hunted, moved_images, trained
from tests.benchmarks.semantic_subject import (
    ATTACKS,
    SEED,
    Subject,
    base_training,
    retraining,
)

__all__ = ["hybrid_figures", "prepare", "retraining_figures", "transfer_figures"]

SHARE = 0.5
PGD = {"epsilon": 4 / 255, "step_size": 1 / 255, "steps": 5}


def prepare(subject: Subject, jobs: int) -> None:
    """Do what takes long in several processes; it is kept, and the figures find it there."""
    works: list[Callable[[Subject], Any]] = [partial(_adapted, attack=name) for name in ATTACKS]
    works += [transfer_figures, hybrid_figures]
    Parallel(jobs)(delayed(_alone)(work, subject, jobs) for work in works)


def retraining_figures(subject: Subject) -> dict[str, Any]:
    """Retrain on each attack; test on what was found before, and under attack anew.

    `seeds` is their procedure: one round. In each further round, beyond them, the model is attacked
    as it has become, on other training images; `more_rounds` is after all of them.
    """
    tests = {"benign": subject.judged} | {name: _found(subject, name) for name in ATTACKS}
    found = {"seeds": _tables(subject, tests, 1)}
    if subject.sizes.rounds > 1:
        found["more_rounds"] = _tables(subject, tests, subject.sizes.rounds)
    return {
        "share_replaced": SHARE,
        "adaptive_scenes": subject.sizes.adaptive,
        "counterexamples_among_replaced": {
            name: round(float(_moved(subject, subject.model, name, 0)[1].double().mean()), 4)
            for name in ATTACKS
        },
        **found,
    }


def _tables(subject: Subject, tests: dict[str, ImageSet], rounds: int) -> dict[str, Any]:
    models = {"benign": subject.model}
    models |= {name: _retrained(subject, name, rounds) for name in ATTACKS}
    static, adaptive = static_table(models, tests), adaptive_table(models, _hunts(subject))
    benign = static["benign"]["benign"].overall
    return {
        "summary": {
            "retrained_static_min": round(least_across(static, ATTACKS), 4),
            "retrained_adaptive_min": round(least_across(adaptive, ATTACKS), 4),
            "benign_drop": round(
                100 * max(benign - static[name]["benign"].overall for name in ATTACKS), 2
            ),
        },
        "static": _overall(static),
        "adaptive": _overall(adaptive),
        "static_by_class": {
            train: {test: each.as_dict()["by_class"] for test, each in row.items()}
            for train, row in static.items()
        },
    }


def hybrid_figures(subject: Subject) -> dict[str, Any]:
    """Tune on counterexamples, on perturbed pixels, and on one after the other (001, A.2)."""
    settings = retraining(subject.sizes, subject.sizes.tune_epochs)
    attack, rows = ATTACKS[0], _half(subject, 0)
    semantic = counterexamples_only(_mixed(subject, subject.model, attack))

    def pixels(model: nn.Module) -> ImageSet:
        return counterexamples_only(perturbed_pixels(model, subject.train, rows, **PGD))

    alone = {
        "semantic": trained(subject.model, semantic, settings, SEED),
        "pixels": trained(subject.model, pixels(subject.model), settings, SEED),
    }
    models = {
        "benign": subject.model,
        **alone,
        "semantic, then pixels": trained(
            alone["semantic"], pixels(alone["semantic"]), settings, SEED + 1
        ),
        "pixels, then semantic": trained(alone["pixels"], semantic, settings, SEED + 1),
    }
    tests: dict[str, ImageSet] = {
        "benign": subject.judged,
        attack: _found(subject, attack),
        "pixels": perturbed_pixels(subject.model, subject.judged, subject.rows, **PGD),
    }
    return {"attack": attack, "pgd": PGD, "static": _overall(static_table(models, tests))}


def transfer_figures(subject: Subject) -> dict[str, Any]:
    """Test a residual network of other build on what was found on ResNet-18, and the reverse."""
    torch.manual_seed(SEED)  # the factory's own initial weights
    fresh = small_resnet(len(subject.train.classes), width=16, stem_stride=2)
    other = trained(fresh, subject.train, base_training(subject.sizes), SEED)
    models = {"resnet18": subject.model, "small_resnet": other}
    few = subject.rows[: subject.sizes.adaptive]
    found = {
        f"{name}/{attack}": hunted(model, subject.judged, few, subject.attack(attack)).found
        for name, model in models.items()
        for attack in ATTACKS
    }
    benign = static_table(models, {"benign": subject.judged})
    return {
        "benign": _overall(benign),
        "accuracy": {
            name: {test: each.as_dict() for test, each in row.items()}
            for name, row in transfer_table(models, found).items()
        },
    }


def _alone(work: Callable[[Subject], Any], subject: Subject, jobs: int) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // jobs))
    work(subject)


def _adapted(subject: Subject, attack: str) -> None:
    for rounds in sorted({1, subject.sizes.rounds}):
        adaptive_table({attack: _retrained(subject, attack, rounds)}, _hunts(subject))


def _hunts(subject: Subject) -> dict[str, Hunt]:
    few = subject.rows[: subject.sizes.adaptive]

    def hunt(name: str) -> Hunt:
        return lambda model: hunted(model, subject.judged, few, subject.attack(name)).found

    return {name: hunt(name) for name in ATTACKS}


def _retrained(subject: Subject, attack: str, rounds: int) -> nn.Module:
    model = subject.model
    for number in range(rounds):
        mixed = _mixed(subject, model, attack, number)
        settings = retraining(subject.sizes, subject.sizes.round_epochs if number else None)
        model = trained(model, mixed, settings, SEED + number)
    return model


def _mixed(subject: Subject, model: nn.Module, attack: str, number: int = 0) -> Replaced:
    """Replace half of the training images, drawn at random in each round, by what was found."""
    rows = _half(subject, number)
    images, _ = _moved(subject, model, attack, number)
    return replace_share(subject.train, images, rows, SHARE, SEED)


def _moved(
    subject: Subject, model: nn.Module, attack: str, number: int
) -> tuple[torch.Tensor, torch.Tensor]:
    return moved_images(model, subject.train, _half(subject, number), subject.attack(attack))


def _half(subject: Subject, number: int) -> torch.Tensor:
    """Draw the training images that are replaced in a round; the same ones for every attack."""
    generator = torch.Generator().manual_seed(SEED + number)
    order = torch.randperm(len(subject.train), generator=generator)
    return order[: round(SHARE * len(order))].sort().values


def _found(subject: Subject, attack: str) -> ArrayImages:
    found = hunted(subject.model, subject.judged, subject.rows, subject.attack(attack)).found
    return ArrayImages(found.images_after, found.labels, subject.judged.classes)


def _overall(table: Table) -> dict[str, dict[str, float]]:
    return {
        train: {test: round(each.overall, 4) for test, each in row.items()}
        for train, row in table.items()
    }
