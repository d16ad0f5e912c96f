"""From the guarded model's outputs to verdicts: an error is never a pass."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CORNER_CASE",
    "UNVERIFIED",
    "VALID",
    "VERDICTS",
    "Judged",
    "Outputs",
    "Verdict",
    "judge",
]

Name = Literal["UNVERIFIED", "VALID", "CORNER_CASE"]
VERDICTS: Final[tuple[Name, ...]] = ("UNVERIFIED", "VALID", "CORNER_CASE")
"""The verdicts in the order of their numbers, which are also those on the wire."""
UNVERIFIED, VALID, CORNER_CASE = range(3)


@dataclass(frozen=True)
class Outputs:
    """The outputs of one run, as the graph names them; the first axis is the batch."""

    logits: NDArray[np.float32]
    label: NDArray[np.int64]
    discrepancy: NDArray[np.float32]
    score: NDArray[np.float32]
    p_value: NDArray[np.float32]
    valid: NDArray[np.bool_]

    @classmethod
    def undecided(cls, batch: int, classes: int, layers: int) -> "Outputs":
        """Return outputs that say nothing: NaN, label -1, not valid."""
        nan = np.full((batch, classes + layers + 2), np.nan, np.float32)
        logits, discrepancy = nan[:, :classes], nan[:, classes:-2]
        label, valid = np.full(batch, -1, np.int64), np.zeros(batch, np.bool_)
        return cls(logits, label, discrepancy, nan[:, -2], nan[:, -1], valid)


@dataclass(frozen=True)
class Judged:
    """Outputs with a verdict for each image (an index into `VERDICTS`)."""

    outputs: Outputs
    verdict: NDArray[np.int8]
    threshold: float
    failures: tuple[str, ...] = ()
    """For each image why it could not be run, or an empty text; empty when all were run."""
    seconds: float = 0.0
    """How long the run took, that of the others in it included."""

    @classmethod
    def unverified(
        cls, batch: int, classes: int, layers: int, threshold: float, failure: str
    ) -> "Judged":
        """Return what is said of images that could not be run."""
        outputs = Outputs.undecided(batch, classes, layers)
        verdict = np.full(batch, UNVERIFIED, np.int8)
        return cls(outputs, verdict, threshold, (failure,) * batch)

    @classmethod
    def join(cls, parts: Sequence["Judged"]) -> "Judged":
        """Put what was judged apart, at one threshold, into one."""
        columns = zip(*(vars(part.outputs).values() for part in parts), strict=True)
        return cls(
            Outputs(*map(np.concatenate, columns)),
            np.concatenate([part.verdict for part in parts]),
            parts[0].threshold,
            tuple(chain.from_iterable(p.failures or ("",) * len(p.verdict) for p in parts)),
            sum(part.seconds for part in parts),
        )

    def part(self, start: int, stop: int) -> "Judged":
        """Return the images from `start` to before `stop`, as views."""
        values = (value[start:stop] for value in vars(self.outputs).values())
        own = self.verdict[start:stop], self.threshold, self.failures[start:stop]
        return Judged(Outputs(*values), *own, self.seconds)

    def reason(self, index: int) -> str:
        """Say why image `index` is UNVERIFIED; empty if it is not."""
        if self.verdict[index] != UNVERIFIED:
            return ""
        if self.failures and self.failures[index]:
            return self.failures[index]
        floats = ("logits", "discrepancy", "score", "p_value")
        odd = [n for n in floats if not np.isfinite(getattr(self.outputs, n)[index]).all()]
        return f"not finite: {', '.join(odd)}" if odd else "the graph contradicts itself"


@dataclass(frozen=True)
class Verdict:
    """What is known of one image."""

    verdict: Name
    label: int
    """The predicted class, from 0; -1 when the model gave none."""
    class_name: str
    confidence: float
    """Softmax of the logits at the label; NaN when they are not finite."""
    score: float
    """The joint discrepancy; positive and large for outliers."""
    p_value: float
    threshold: float
    discrepancy: dict[str, float]
    """By the name of the layer."""
    reason: str = ""
    """Why the verdict is UNVERIFIED; else empty."""

    @classmethod
    def of(
        cls, judged: Judged, index: int, classes: tuple[str, ...], layers: tuple[str, ...]
    ) -> "Verdict":
        """Gather image `index` of `judged`, with the names of its class and layers.

        All figures are those of float32, as the wire has them: a verdict given here and one that
        came from a server are equal.
        """
        outputs = judged.outputs
        label = int(outputs.label[index])
        return cls(
            verdict=VERDICTS[judged.verdict[index]],
            label=label,
            class_name=classes[label] if 0 <= label < len(classes) else "",
            confidence=_softmax_at(outputs.logits[index], label),
            score=float(outputs.score[index]),
            p_value=float(outputs.p_value[index]),
            threshold=float(np.float32(judged.threshold)),
            discrepancy=dict(zip(layers, outputs.discrepancy[index].tolist(), strict=True)),
            reason=judged.reason(index),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON takes them: a figure that is not finite is None."""
        values = vars(self) | {"discrepancy": {k: _known(v) for k, v in self.discrepancy.items()}}
        return {k: _known(v) if isinstance(v, float) else v for k, v in values.items()}


def judge(outputs: Outputs, threshold: float) -> Judged:
    """Give every image its verdict.

    VALID and CORNER_CASE need finite logits, discrepancies, score and p-value, a label that the
    model has, and a `valid` that agrees with score ≤ threshold; anything else is UNVERIFIED, and
    `valid` is then false.
    """
    classes = outputs.logits.shape[1]
    decided = (
        np.isfinite(outputs.logits).all(axis=1)
        & np.isfinite(outputs.discrepancy).all(axis=1)
        & np.isfinite(outputs.score)
        & np.isfinite(outputs.p_value)
        & (outputs.label >= 0)
        & (outputs.label < classes)
        & (outputs.valid == (outputs.score <= np.float32(threshold)))
    )
    verdict = np.where(decided, np.where(outputs.valid, VALID, CORNER_CASE), UNVERIFIED)
    values: dict[str, NDArray[Any]] = vars(outputs) | {"valid": verdict == VALID}
    return Judged(Outputs(**values), verdict.astype(np.int8), threshold)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _softmax_at(logits: NDArray[np.float32], label: int) -> float:
    if not 0 <= label < len(logits) or not np.isfinite(logits).all():
        return float("nan")
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return float(np.float32(powers[label] / powers.sum()))
