"""What the gallery shows of an attack on an object detector: boxes before and after."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from offline.counterexamples.objectives import distance
from offline.evaluation.boxes_drawn import DrawnBox, draw_boxes
from offline.evaluation.counterexamples_shown import Answer, AttackShown, CounterexampleShown
from offline.evaluation.figures_in_words import percent
from offline.evaluation.image_arrays import Picture
from offline.evaluation.movement_in_words import movement_in_words
from offline.rendering.scene import Scene

__all__ = ["StreetsSeen", "shown_streets"]

Boxes = Float[Tensor, "object 4"]
Labels = Int64[Tensor, " object"]
Scores = Float[Tensor, " object"]


class StreetsSeen(NamedTuple):
    """Streets, and what a detector made of them; tensors on the CPU.

    Attributes:
        scenes, images: of 8 bits.
        truths: the objects of each image: their boxes (left, upper, right and lower border in
            pixels) and classes.
        found: what the detector finds in each, and its scores in [0, 1].
        missed: how many of the objects it misses.
    """

    scenes: Scene
    images: UInt8[Tensor, "scene 3 height width"]
    truths: Sequence[tuple[Boxes, Labels]]
    found: Sequence[tuple[Boxes, Labels, Scores]]
    missed: Int64[Tensor, " scene"]


def shown_streets(
    name: str,
    before: StreetsSeen,
    after: StreetsSeen,
    success: Bool[Tensor, " scene"],
    classes: Sequence[str],
    *,
    threshold: float = 0.3,
    most: int = 100,
) -> AttackShown:
    """Gather the first `most` successes of an attack on a detector, with boxes on the images.

    Args:
        name: of the attack.
        before, after: the streets as they were, and as the attack left them, in metres.
        success: which of them are counterexamples.
        classes: the detector's.
        threshold: the score from which on a detection is shown, as it is where it counts.
        most: how many are shown.
    """
    rows = success.nonzero()[:most, 0].tolist()
    far = distance(after.scenes.parameters(), before.scenes.parameters(), norm=2)
    examples = tuple(
        CounterexampleShown(
            original=_drawn(before, row, classes, threshold),
            counterexample=_drawn(after, row, classes, threshold),
            label=_subjects(before.truths[row][1], classes),
            before=_answer(before, row, threshold),
            after=_answer(after, row, threshold),
            changed=movement_in_words(before.scenes, after.scenes, row, length="m"),
            distance=far[row].item(),
        )
        for row in rows
    )
    return AttackShown(name, len(success), int(success.sum()), examples)


def _drawn(seen: StreetsSeen, row: int, classes: Sequence[str], threshold: float) -> Picture:
    picture = (seen.images[row].float() / 255).numpy()
    there = [_box(corners, is_truth=True) for corners in seen.truths[row][0]]
    found = [
        _box(corners, f"{classes[int(label)]} {percent(score.item(), 0)}")
        for corners, label, score in zip(*seen.found[row], strict=True)
        if score >= threshold
    ]
    return draw_boxes(picture, there + found)


def _box(corners: Float[Tensor, "4"], text: str = "", *, is_truth: bool = False) -> DrawnBox:
    left, upper, right, lower = corners.tolist()
    return DrawnBox((left, upper, right, lower), text, is_truth)


def _subjects(labels: Int64[Tensor, " object"], classes: Sequence[str]) -> str:
    return " and ".join(sorted({classes[label] for label in labels.tolist()}))


def _answer(seen: StreetsSeen, row: int, threshold: float) -> Answer:
    """Say how many objects are found; its confidence is the mean score of what is."""
    count, missed = len(seen.truths[row][1]), int(seen.missed[row])
    sure = seen.found[row][2]
    sure = sure[sure >= threshold]
    confidence = sure.mean().item() if len(sure) else None
    return Answer(f"finds {count - missed} of {count}", confidence, right=missed == 0)
