"""What an attack, or sampling, came to: the figures of 000's tables 1, 3, 4, 14, 16 and 17."""

from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from offline.counterexamples.found import Counterexamples
from offline.counterexamples.measures.informativeness import (
    binary_membership,
    fractional_membership,
    information_worth,
    normalised_accuracy,
)
from offline.counterexamples.measures.realism import Realism
from offline.counterexamples.measures.scene_distance import scene_distances
from offline.models import device_of

__all__ = ["attack_measures"]

AT_ONCE = 256


def attack_measures(
    model: nn.Module, found: Counterexamples, realism: Realism | None = None
) -> dict[str, Any]:
    """Return an attack's figures as JSON values; null: not measured.

    Args:
        model: the one that was attacked, on the CPU or a GPU.
        found: every scene that was attacked.
        realism: of all its images, before and after.
    """
    successes = int(found.success.sum())
    after, before = (_logits(model, x) for x in (found.images_after, found.images_before))
    by_class, _ = normalised_accuracy(found.predicted_after, found.labels, after.shape[1])
    likeness = None if realism is None else realism.realism
    moved = scene_distances(found.before[found.success], found.after[found.success])
    return {
        **found.figures(),
        "accuracy_by_class": [None if x != x else round(x, 4) for x in by_class.tolist()],
        "renders_per_success": found.figures()["renders"] / successes if successes else None,
        "information_worth": _worth(after, found.labels),
        "information_worth_benign": _worth(before, found.labels),
        "information_worth_by_realism": None
        if likeness is None
        else _worth(after, found.labels, likeness),
        "realism": None if realism is None else realism.figures(),
        "moved_median": {name: float(each.length.median()) for name, each in moved.items()},
    }


def _worth(
    logits: Float[Tensor, "point class"], labels: Tensor, realism: Tensor | None = None
) -> dict[str, float]:
    """Return the information worth in nats by both memberships (000, section 3.2)."""
    members = {
        "binary": binary_membership(logits.argmax(dim=1), logits.shape[1]),
        "fractional": fractional_membership(logits),
    }
    return {name: information_worth(each, labels, realism) for name, each in members.items()}


@torch.no_grad()
def _logits(
    model: nn.Module, images: UInt8[Tensor, "image channel height width"]
) -> Float[Tensor, "image class"]:
    device = device_of(model)
    parts = (part.to(device).float() / 255 for part in images.split(AT_ONCE))
    return torch.cat([model(part).float().cpu() for part in parts])
