"""What the report and its gallery show of semantic counterexamples, whatever the task is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest

from jaxtyping import Float
from torch import Tensor, nn

from offline.corner_cases.prediction import predict
from offline.counterexamples import Counterexamples
from offline.counterexamples.objectives import distance
from offline.evaluation.image_arrays import Picture
from offline.evaluation.movement_in_words import movement_in_words

__all__ = ["Answer", "AttackShown", "CounterexampleShown", "in_turn", "shown_counterexamples"]


@dataclass(frozen=True)
class Answer:
    """What a model says of an image.

    Attributes:
        text: the class that it sees, or what it found.
        confidence: in [0, 1]; None where it has none.
        right: whether that is true.
    """

    text: str
    confidence: float | None
    right: bool


@dataclass(frozen=True, eq=False)
class CounterexampleShown:
    """A semantic counterexample beside its original.

    Attributes:
        label: the true class.
        before, after: what the attacked model says of either.
        hardened: what the hardened model says of the counterexample; None without one.
        changed: which scene parameters moved, and how far, in words.
        distance: ‖π‖₂, how far the scene moved over all its parameters.
        lpips: how far apart the two images look, 0 where they are alike; None: not measured.
    """

    original: Picture
    counterexample: Picture
    label: str
    before: Answer
    after: Answer
    hardened: Answer | None = None
    changed: dict[str, str] = field(default_factory=dict)
    distance: float = 0.0
    lpips: float | None = None


@dataclass(frozen=True, eq=False)
class AttackShown:
    """What one attack found: the counts, and examples that need not be all of it."""

    name: str
    attacked: int
    found: int
    examples: tuple[CounterexampleShown, ...]


def shown_counterexamples(
    name: str,
    found: Counterexamples,
    classes: Sequence[str],
    *,
    hardened: nn.Module | None = None,
    lpips: Float[Tensor, " scene"] | None = None,
    most: int = 300,
    length: str = "radii",
) -> AttackShown:
    """Gather the first `most` successes of an attack on a classifier.

    Args:
        name: of the attack.
        found: what it found.
        classes: their names.
        hardened: a model that is asked about the counterexamples as well.
        lpips: of each attacked scene; NaN where it was not measured.
        most: how many are shown.
        length: what the scenes are measured in.
    """
    rows = found.success.nonzero()[:most, 0]
    later = None
    if hardened is not None and len(rows):
        later = predict(hardened, _as_images(found.images_after[rows]))
    far = distance(found.after.parameters(), found.before.parameters(), norm=2)

    def answer(row: int, predicted: Tensor, confidence: Tensor) -> Answer:
        right = bool(predicted == found.labels[row])
        share = confidence.item()
        return Answer(classes[int(predicted)], None if math.isnan(share) else share, right)

    def example(place: int, row: int) -> CounterexampleShown:
        looks = math.nan if lpips is None else lpips[row].item()
        return CounterexampleShown(
            original=_as_images(found.images_before[row]).numpy(),
            counterexample=_as_images(found.images_after[row]).numpy(),
            label=classes[int(found.labels[row])],
            before=answer(row, found.predicted_before[row], found.confidence_before[row]),
            after=answer(row, found.predicted_after[row], found.confidence_after[row]),
            hardened=later and answer(row, later.labels[place], later.confidences[place]),
            changed=movement_in_words(
                found.before, found.after, row, classes=classes, length=length
            ),
            distance=far[row].item(),
            lpips=None if math.isnan(looks) else looks,
        )

    examples = tuple(example(place, row) for place, row in enumerate(rows.tolist()))
    return AttackShown(name, len(found), int(found.success.sum()), examples)


def in_turn(
    attacks: Sequence[AttackShown],
) -> list[tuple[AttackShown, CounterexampleShown]]:
    """Return the examples, one of each attack by turns: the first ones show every attack."""
    turns = zip_longest(*([(attack, each) for each in attack.examples] for attack in attacks))
    return [pair for pair in chain.from_iterable(turns) if pair is not None]


def _as_images(pixels: Tensor) -> Float[Tensor, "..."]:
    return pixels.float() / 255
