"""How well white-box attacks are told from clean images (Table 3.8); one that knows the detector.

    python -m tests.benchmarks.white_box --dataset mnist|digits|cifar10 [--data PATH]
        [--weights FILE] [--images N] [--save FILE]

All detectors get the same model, the same attacked images, and as negatives the clean test images
that are no seed images. SAEs are the adversarial images that the model gets wrong, whatever their
target; AEs are all of them. The thesis attacks 200 seed images; here 50 of MNIST are attacked, so
that it takes minutes on two cores. The last line is one JSON object.

`adaptive` is the attack of `offline.attacks.evasion`. `evaded` is the share of all seed images for
which it found a misclassified image below the threshold of a false-alarm rate.
"""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import torch
import typer
from jaxtyping import Float

from guard.guarded import GuardedClassifier
from guard.progress import track
from guard.storage import write_json
from offline.attacks import pgd_against_guard
from offline.corner_cases import Seeds, seed_images
from offline.datasets import Subset, batches
from offline.evaluation.detection import roc_auc
from offline.evaluation.inspection import inspect, inspect_set
from offline.fitting import fit_deep_validation
from offline.fitting.calibration import conformal_threshold
from tests.benchmarks.adversarial_images import Attack, Attacked, attacked, attacks
from tests.benchmarks.detection import RATES, TRAINING_IMAGES
from tests.benchmarks.observation import BATCH, observe_training, parts_of
from tests.benchmarks.peers import LEFT_OUT, fit_peers, peer_scores
from tests.benchmarks.provenance import provenance
from tests.benchmarks.subjects import Dataset, Subject, open_subject

__all__ = ["benchmark"]

IMAGES: dict[Dataset, int] = {"mnist": 50, "digits": 30, "cifar10": 10}
GREY_RADII, COLOUR_RADII = (0.1, 0.2, 0.3), (2 / 255, 4 / 255, 8 / 255)
EVASION = {"steps": 40, "confidence": 1.0, "searches": 5, "restarts": 3}
STEPS_TO_THE_EDGE = 10
SEED = 0

Scores = Float[np.ndarray, " n"]


def main(
    dataset: Annotated[Dataset, typer.Option()],
    data: Path | None = None,
    weights: Path | None = None,
    images: Annotated[int | None, typer.Option(min=1)] = None,
    save: Path | None = None,
) -> None:
    """Run the benchmark, print its figures, and write them to `save`."""
    subject = open_subject(dataset, data, weights)
    colour = subject.data.test.shape[0] > 1
    figures = benchmark(
        subject,
        images or IMAGES[dataset],
        attacks(colour),
        COLOUR_RADII if colour else GREY_RADII,
        EVASION,
    )
    whole = {"dataset": dataset, **provenance(), **figures}
    if save is not None:
        write_json(save, whole)
    print(json.dumps(whole, allow_nan=False))


def benchmark(
    subject: Subject,
    images: int,
    columns: Sequence[Attack],
    radii: Sequence[float],
    evasion: dict[str, Any],
) -> dict[str, Any]:
    """Attack `images` seed images by each of `columns`, and in l∞ balls of `radii`; see above."""
    start = perf_counter()
    model, data = subject.model, subject.data
    seeds = seed_images(model, data.test, images, SEED)
    kept = torch.ones(len(data.test), dtype=torch.bool)
    kept[seeds.indices] = False
    clean = Subset(data.test, torch.nonzero(kept).flatten())
    detector = fit_deep_validation(model, data.train, data.calibration, subject.fit, SEED)
    guarded = GuardedClassifier(model, detector)
    found = {
        f"{attack.name} {attack.target}": attacked(model, attack, seeds)
        for attack in track(columns, "Attacking", len(columns))
    }
    normal = inspect_set(guarded, clean).scores.numpy()
    own = {name: inspect(guarded, one.images).scores.numpy() for name, one in found.items()}
    wrong = {name: one.wrong.numpy() for name, one in found.items()}
    limits = {
        f"{rate:.0%}": float(conformal_threshold(detector.calibration, rate)) for rate in RATES
    }
    return {
        "seed_images": images,
        "libraries": {name: version(name) for name in ("torchattacks", "foolbox")},
        **_areas(normal, own, wrong),
        "attacks": {
            name: one.figures
            | {"sae_auc": roc_auc(normal, own[name][wrong[name]])}
            | {"ae_auc": roc_auc(normal, own[name])}
            for name, one in found.items()
        },
        **_peers(subject, clean, found, wrong),
        "adaptive": _adaptive(guarded, seeds, normal, limits, radii, evasion),
        "wall_seconds": round(perf_counter() - start),
    }


def _areas(
    normal: Scores, scores: dict[str, Scores], wrong: dict[str, np.ndarray]
) -> dict[str, float | None]:
    """Return the areas under the ROC curves of all attacks' images together."""
    errs = np.concatenate([*wrong.values()])
    pooled = np.concatenate([scores[name] for name in wrong])
    return {
        "overall_sae_auc": roc_auc(normal, pooled[errs]),
        "overall_ae_auc": roc_auc(normal, pooled),
    }


def _peers(
    subject: Subject, clean: Subset, found: dict[str, Attacked], wrong: dict[str, np.ndarray]
) -> dict[str, Any]:
    parts = parts_of(subject.model)
    training = observe_training(
        parts, subject.data.train, subject.data.calibration, TRAINING_IMAGES, SEED
    )
    fitted = fit_peers(parts, training)
    normal = peer_scores(fitted, parts, (images for images, _ in batches(clean, BATCH)))
    scored = {name: peer_scores(fitted, parts, [one.images]) for name, one in found.items()}
    areas = {
        peer: _areas(normal[peer], {name: one[peer] for name, one in scored.items()}, wrong)
        for peer in fitted.scorers
    }
    return {
        "peers": areas,
        **{f"best_peer_{kind}": _best(areas, f"overall_{kind}_auc") for kind in ("sae", "ae")},
        "peers_failed": fitted.failed,
        "peers_left_out": LEFT_OUT,
    }


def _best(areas: dict[str, dict[str, float | None]], kind: str) -> dict[str, Any]:
    name = max(areas, key=lambda peer: areas[peer][kind] or 0.0)
    return {"name": name, "auc": areas[name][kind]}


def _adaptive(
    guarded: GuardedClassifier,
    seeds: Seeds,
    normal: Scores,
    limits: dict[str, float],
    radii: Sequence[float],
    evasion: dict[str, Any],
) -> dict[str, Any]:
    figures: dict[str, Any] = {"budget": evasion | {"steps_to_the_edge": STEPS_TO_THE_EDGE}}
    for epsilon in radii:
        found = pgd_against_guard(
            guarded,
            seeds.images,
            seeds.labels,
            epsilon=epsilon,
            step_size=epsilon / STEPS_TO_THE_EDGE,
            generator=torch.Generator().manual_seed(SEED),
            **evasion,
        )
        figures[f"{epsilon:.3g}"] = {
            "fooled": found.fooled.float().mean().item(),
            "evaded": {
                rate: (found.score <= limit).float().mean().item() for rate, limit in limits.items()
            },
            "auc": roc_auc(normal, found.score[found.fooled].numpy()),
        }
    return figures


if __name__ == "__main__":
    typer.run(main)
