"""What moved between a scene and its counterexample, in words and with units."""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from offline.rendering.scene import PARAMETERS, Scene

__all__ = ["movement_in_words"]

LENGTH = "a length"  # stands for the unit that scenes are measured in
TURN, PLACE = [(axis, "°") for axis in "xyz"], [(axis, LENGTH) for axis in "xyz"]
RGB = [(colour, "") for colour in ("red", "green", "blue")]
NUMBERS = {
    "pose": TURN,
    "translation": PLACE,
    "scale": [("", "")],
    "colour": RGB,
    "lamps": [*PLACE, *RGB],
    "camera": [
        ("distance", LENGTH),
        *((word, "°") for word in ("azimuth", "elevation", "field of view", "roll")),
        *((f"looks at {axis}", LENGTH) for axis in "xyz"),
    ],
    "fog": [("density", ""), *RGB],
}
"""Parameters of a few numbers for each thing; the others are told by their largest change."""
NOISE = 1e-5
"""A change that is no larger is rounding."""


def movement_in_words(
    before: Scene, after: Scene, row: int, *, classes: Sequence[str] = (), length: str = "radii"
) -> dict[str, str]:
    """Say how far each scene parameter moved; those that did not are left out.

    Of several objects (or lamps), the one that moved farthest speaks, and the others are counted.

    Args:
        before, after: scenes of the same shapes.
        row: which of the batch is asked about.
        classes: names of the classes, by which objects of a scene with several are told apart.
        length: what scenes are measured in, such as `radii` of their object, or `m`.
    """
    found = {}
    for name in PARAMETERS:
        start = getattr(before, name)[row]
        change = getattr(after, name)[row] - start
        if not bool((change.abs() > NOISE).any()):
            continue
        if name in NUMBERS:
            things = change.reshape(-1, len(NUMBERS[name]))
            namer = _namer(name, before.classes[row], classes)
            words = _numbers(things, NUMBERS[name], namer, length)
        elif name == "light":
            words = _light(start, change)
        elif name == "vertices":
            words = _vertices(change, length)
        else:
            words = f"by up to {change.abs().max().item():.2g}"
        found[name] = words
    return found


def _numbers(
    things: Float[Tensor, "thing number"],
    words: Sequence[tuple[str, str]],
    name: Callable[[int], str],
    length: str,
) -> str:
    turns = torch.tensor([math.degrees(1) if unit == "°" else 1.0 for _, unit in words])
    moved = (things.abs() > NOISE).any(dim=1).nonzero()[:, 0].tolist()
    farthest = int(things.norm(dim=1).argmax())
    values = zip(words, (things[farthest] * turns.to(things)).tolist(), strict=True)
    kept = [(word, unit, value) for (word, unit), value in values if abs(value) > NOISE]
    parts = []
    for (word, unit, value), following in zip(kept, [*kept[1:], ("", "", 0)], strict=True):
        # A length is named once, after the last of those that follow one another.
        written = f" {length}" if unit == LENGTH and following[1] != LENGTH else ""
        number = f"{value:+.1f}°" if unit == "°" else f"{value:+.2g}"
        parts.append(f"{word} {number}{written}".strip().replace("-", "−"))
    whose = "" if len(things) == 1 else f"{name(farthest)}: "
    others = "" if len(moved) == 1 else f"; {len(moved) - 1} more"
    return whose + ", ".join(parts) + others


def _light(start: Float[Tensor, "6"], change: Float[Tensor, "6"]) -> str:
    turned = torch.nn.functional.cosine_similarity(start[:3], start[:3] + change[:3], dim=0)
    angle = math.degrees(math.acos(min(1.0, turned.item())))
    parts = [f"turned by {angle:.1f}°"] if angle > 0.05 else []
    if bool((change[3:].abs() > NOISE).any()):
        parts.append(_numbers(change[None, 3:], RGB, str, ""))
    return ", ".join(parts) or "made longer or shorter, which changes nothing"


def _vertices(change: Float[Tensor, "vertex 3"], length: str) -> str:
    ways = change.norm(dim=1)
    count = int((ways > NOISE).sum())
    return f"{count} of them by up to {ways.max().item():.2g} {length}"


def _namer(
    parameter: str, objects: Int64[Tensor, " object"], classes: Sequence[str]
) -> Callable[[int], str]:
    """Return how the things of a parameter are called: by their class, or by their number."""

    def name(thing: int) -> str:
        if parameter == "lamps":
            return f"lamp {thing + 1}"
        number = int(objects[thing])
        return classes[number] if 0 <= number < len(classes) else f"object {thing + 1}"

    return name
