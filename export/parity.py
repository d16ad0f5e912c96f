"""Parity: an exported file must say of real images what the module says of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from export.runners import Runner, run_batch
from guard.errors import CornerguardError
from guard.guarded import GuardedClassifier, GuardedOutput

__all__ = ["BATCHES", "TOLERANCE", "Parity", "require_parity"]

BATCHES = (1, 7, 64)
TOLERANCE = 1e-4

Answers = dict[str, np.ndarray]
FIELDS = GuardedOutput._fields


class Parity(NamedTuple):
    """What was compared, and the largest differences found.

    Attributes:
        images: how many images were compared.
        logits, score: largest relative differences.
        ties: images whose verdict or label differs because it is a tie within the tolerance.
    """

    images: int
    logits: float
    score: float
    ties: int


def require_parity(
    guarded: GuardedClassifier, run: Runner, images: Float[Tensor, "n c h w"], name: str
) -> Parity:
    """Compare an exported file with the module at batches of 1, 7, 64 and all the rest by 64s.

    A difference of logits, discrepancies or scores is relative to the larger of the value's own
    size and the quantity's typical one, the root mean square over these images: near zero, a share
    of the value itself would mean nothing. At most 1e-4 passes. Labels and verdicts must be
    identical; the one exception is a tie, where two logits, or score and threshold, lie nearer
    together than the tolerance, so that rounding alone decides. Ties are counted.

    Raises:
        CornerguardError: they differ; the message names the worst image and the values.
    """
    with torch.no_grad():
        ours = _answers([run_batch(guarded, batch, "the model") for batch in images.split(64)])
    theirs = _answers([run_batch(run, batch, name) for batch in _batches(images)])
    for field in FIELDS:
        one, other = ours[field], theirs[field]
        if one.shape != other.shape or one.dtype != other.dtype:
            raise CornerguardError(
                f"{name}: {field} is {other.dtype} {list(other.shape)}, "
                f"the module's is {one.dtype} {list(one.shape)}"
            )
    logits = _require_close(ours["logits"], theirs["logits"], f"{name}: logits")
    top = np.sort(ours["logits"], axis=1)[:, -2:]
    margin = np.ptp(top, axis=1) / _size(ours["logits"])
    label_ties = _require_same("label", ours, theirs, margin, name)
    # Under another label other SVMs answer: a tied label's scores cannot be compared.
    same = ours["label"] == theirs["label"]
    ours, theirs = ({f: v[same] for f, v in answers.items()} for answers in (ours, theirs))
    if not same.any():
        return Parity(len(images), logits, 0.0, label_ties)
    _require_close(ours["discrepancy"], theirs["discrepancy"], f"{name}: discrepancy")
    score = _require_close(ours["score"], theirs["score"], f"{name}: score")
    threshold = float(guarded.detector.threshold)
    margin = np.abs(ours["score"] - threshold) / np.maximum(abs(threshold), _size(ours["score"]))
    verdict_ties = _require_same("valid", ours, theirs, margin, name)
    _require_p_values(guarded, ours, theirs, name)
    return Parity(len(images), logits, score, label_ties + verdict_ties)


def _batches(images: Tensor) -> list[Tensor]:
    """Split so that each batch size occurs: 1, 7, then 64 at a time; all images once."""
    sizes, left = [], len(images)
    for size in BATCHES:
        sizes.append(min(size, left))
        left -= sizes[-1]
    sizes += [64] * (left // 64) + [left % 64]
    return [batch for batch in images.split(sizes) if len(batch)]


def _answers(outputs: Sequence[Sequence[Any]]) -> Answers:
    """Join the outputs of several batches, each field to one array."""
    columns = zip(*outputs, strict=True)
    arrays = [np.concatenate([_array(part) for part in column]) for column in columns]
    return dict(zip(FIELDS, arrays, strict=True))


def _array(output: Any) -> np.ndarray:
    return np.asarray(output.cpu() if isinstance(output, Tensor) else output)


def _require_same(field: str, ours: Answers, theirs: Answers, margin: np.ndarray, name: str) -> int:
    """Refuse rows that differ beyond a tie, the one farthest from a tie first; count the ties."""
    differs = ours[field] != theirs[field]
    # A margin that is NaN belongs to an image that is no number, which must agree as well.
    if (differs & ~(margin <= TOLERANCE)).any():
        at = int(np.argmax(np.where(differs, np.nan_to_num(margin, nan=np.inf), -1)))
        scores = f"scores {theirs['score'][at]:.6g} and {ours['score'][at]:.6g}"
        raise CornerguardError(
            f"{name}: {field} of image {at} is {theirs[field][at]}, "
            f"the module's is {ours[field][at]} ({scores})"
        )
    return int(differs.sum())


def _require_p_values(
    guarded: GuardedClassifier, ours: Answers, theirs: Answers, name: str
) -> None:
    """Hold each p-value between those of the score moved by the tolerance either way."""
    device = guarded.detector.calibration.device
    score = torch.from_numpy(ours["score"]).to(device)
    slack = TOLERANCE * score.abs().clamp(min=_size(ours["score"]))
    label = torch.from_numpy(ours["label"]).to(device)
    least = guarded.detector.p_value(score + slack, label).cpu().numpy()
    most = guarded.detector.p_value(score - slack, label).cpu().numpy()
    found = theirs["p_value"]
    outside = np.maximum(least - found, found - most)
    at = int(outside.argmax())
    if outside[at] > np.finfo(np.float32).eps:
        raise CornerguardError(
            f"{name}: p_value of image {at} is {found[at]:.6g}, "
            f"not in {least[at]:.6g}..{most[at]:.6g}"
        )


def _require_close(expected: np.ndarray, found: np.ndarray, what: str) -> float:
    difference = np.abs(found.astype(np.float64) - expected)
    # NaN on both sides is agreement; on one side it is not.
    difference[np.isnan(expected) & np.isnan(found)] = 0
    relative = difference / np.maximum(np.abs(expected), _size(expected))
    flat = np.nan_to_num(relative.reshape(len(relative), -1).max(axis=1), nan=np.inf)
    worst = int(flat.argmax())
    if flat[worst] > TOLERANCE:
        raise CornerguardError(
            f"{what} of image {worst} differs by {flat[worst]:.3g} of its size "
            f"({found[worst].tolist()} against {expected[worst].tolist()}); "
            f"at most {TOLERANCE:g} is allowed"
        )
    return float(flat[worst])


def _size(values: np.ndarray) -> float:
    """Return the root mean square, the typical size."""
    return float(np.sqrt(np.nanmean(np.square(values, dtype=np.float64)))) or 1.0
