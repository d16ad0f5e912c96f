"""Parity: an exported file must say of real images what the module says of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from export.runners import Runner, run_batch
from guard.errors import CornerguardError
from guard.guarded import GuardedClassifier, GuardedOutput
from guard.manifest import Agreement

__all__ = ["BATCHES", "TOLERANCE", "Mismatch", "full_float32", "require_parity"]

BATCHES = (1, 7, 64)
TOLERANCE = 1e-4

Answers = dict[str, np.ndarray]
FIELDS = GuardedOutput._fields


class Mismatch(CornerguardError):
    """An exported file disagrees with the module; `image` is the index of the worst image."""

    def __init__(self, message: str, image: int) -> None:
        super().__init__(message)
        self.image = image


def require_parity(
    guarded: GuardedClassifier,
    run: Runner,
    images: Float[Tensor, "n c h w"],
    name: str,
    tolerance: float = TOLERANCE,
) -> Agreement:
    """Compare an exported file with the module at batches of 1, 7, 64 and all the rest by 64s.

    Of fewer images than these batches take, some are asked about again.

    A difference of logits, discrepancies or scores is relative to the larger of the value's own
    size and the quantity's typical one, the root mean square over these images: near zero, a share
    of the value itself would mean nothing. At most `tolerance` passes. Labels and verdicts must be
    identical; the one exception is a tie, where two logits, or score and threshold, lie nearer
    together than the tolerance, so that rounding alone decides. Ties are counted.

    Raises:
        Mismatch: they differ; the message names the worst image and both values.
        CornerguardError: the file does not run, or gives arrays of other types or shapes.
    """
    with torch.no_grad(), full_float32():
        ours = _answers([run_batch(guarded, batch, "the model") for batch in images.split(64)])
        batches = _batches(len(images))
        theirs = _answers([run_batch(run, images[rows], name) for rows in batches])
    asked = torch.cat(batches).numpy()
    ours = {field: values[asked] for field, values in ours.items()}
    for field in FIELDS:
        one, other = ours[field], theirs[field]
        if one.shape != other.shape or one.dtype != other.dtype:
            raise CornerguardError(
                f"{name}: {field} is {other.dtype} {list(other.shape)}, "
                f"the module's is {one.dtype} {list(one.shape)}"
            )
    every = _Comparison(ours, theirs, asked, name, tolerance)
    logits = every.require_close("logits")
    top = np.sort(ours["logits"], axis=1)[:, -2:]
    ties = every.require_same("label", np.ptp(top, axis=1) / _size(ours["logits"]))
    # Under another label other SVMs answer: a tied label's scores cannot be compared.
    same = every.of(ours["label"] == theirs["label"])
    score = 0.0
    if len(same.rows):
        same.require_close("discrepancy")
        score = same.require_close("score")
        threshold, scores = float(guarded.detector.threshold), same.ours["score"]
        margin = np.abs(scores - threshold) / np.maximum(abs(threshold), _size(scores))
        ties += same.require_same("valid", margin)
        same.require_p_values(guarded)
    return Agreement(images=len(images), logits=logits, score=score, ties=ties, tolerance=tolerance)


@contextmanager
def full_float32() -> Iterator[None]:
    """Let a GPU multiply in float32, not in TF32, whose 10 bits differ from host to host.

    Convolutions take TF32 by default: then it is not the exported file that a difference tells of.
    """
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    settings = (convolutions, torch.backends.cuda.matmul)
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        yield
    finally:
        for setting, precision in zip(settings, before, strict=True):
            setting.fp32_precision = precision


class _Comparison(NamedTuple):
    """The module's and the file's answers on the images `rows`."""

    ours: Answers
    theirs: Answers
    rows: np.ndarray
    name: str
    tolerance: float

    def of(self, kept: np.ndarray) -> "_Comparison":
        ours, theirs = ({f: v[kept] for f, v in of.items()} for of in (self.ours, self.theirs))
        return self._replace(ours=ours, theirs=theirs, rows=self.rows[kept])

    def require_close(self, field: str) -> float:
        """Return the largest relative difference; refuse one beyond the tolerance."""
        expected, found = (of[field].reshape(len(self.rows), -1) for of in (self.ours, self.theirs))
        difference = np.abs(found.astype(np.float64) - expected)
        # NaN on both sides is agreement; on one side it is not.
        difference[np.isnan(expected) & np.isnan(found)] = 0
        relative = difference / np.maximum(np.abs(expected), _size(expected))
        relative = np.nan_to_num(relative, nan=np.inf)
        worst, column = np.unravel_index(relative.argmax(), relative.shape)
        largest = float(relative[worst, column])
        if largest > self.tolerance:
            place = f" in column {column}" if self.ours[field].ndim > 1 else ""
            raise self._mismatch(
                int(worst),
                f"{field} of image {{image}}{place} is {found[worst, column]:.7g}, the module's is "
                f"{expected[worst, column]:.7g}: they differ by {largest:.3g} of their size; "
                f"at most {self.tolerance:g} is allowed",
            )
        return largest

    def require_same(self, field: str, margin: np.ndarray) -> int:
        """Count the ties; refuse what differs beyond one, the image farthest from a tie first."""
        ours, theirs = self.ours, self.theirs
        differs = ours[field] != theirs[field]
        # A margin that is NaN belongs to an image that is no number, which must agree as well.
        if (differs & ~(margin <= self.tolerance)).any():
            at = int(np.argmax(np.where(differs, np.nan_to_num(margin, nan=np.inf), -1)))
            raise self._mismatch(
                at,
                f"{field} of image {{image}} is {theirs[field][at]}, the module's is "
                f"{ours[field][at]} (scores {theirs['score'][at]:.7g} and {ours['score'][at]:.7g})",
            )
        return len(np.unique(self.rows[differs]))

    def require_p_values(self, guarded: GuardedClassifier) -> None:
        """Hold each p-value between those of the score moved by the tolerance either way."""
        device = guarded.detector.calibration.device
        score = torch.from_numpy(self.ours["score"]).to(device)
        slack = self.tolerance * score.abs().clamp(min=_size(self.ours["score"]))
        label = torch.from_numpy(self.ours["label"]).to(device)
        least = guarded.detector.p_value(score + slack, label).cpu().numpy()
        most = guarded.detector.p_value(score - slack, label).cpu().numpy()
        found = self.theirs["p_value"]
        outside = np.maximum(least - found, found - most)
        at = int(outside.argmax())
        if outside[at] > np.finfo(np.float32).eps:
            raise self._mismatch(
                at,
                f"p_value of image {{image}} is {found[at]:.6g}, "
                f"the module's is {least[at]:.6g} to {most[at]:.6g}",
            )

    def _mismatch(self, at: int, what: str) -> Mismatch:
        image = int(self.rows[at])
        return Mismatch(f"{self.name}: {what.format(image=image)}", image)


def _batches(count: int) -> list[Tensor]:
    """Return which images form each batch, so that each size occurs: 1, 7, then 64 at a time."""
    rows = torch.arange(max(count, sum(BATCHES))) % count
    one, seven, most = BATCHES
    return [*rows[: one + seven].split((one, seven)), *rows[one + seven :].split(most)]


def _answers(outputs: Sequence[Sequence[Any]]) -> Answers:
    """Join the outputs of several batches, each field to one array."""
    columns = zip(*outputs, strict=True)
    arrays = [np.concatenate([_array(part) for part in column]) for column in columns]
    return dict(zip(FIELDS, arrays, strict=True))


def _array(output: Any) -> np.ndarray:
    return np.asarray(output.cpu() if isinstance(output, Tensor) else output)


def _size(values: np.ndarray) -> float:
    """Return the root mean square, the typical size."""
    return float(np.sqrt(np.nanmean(np.square(values, dtype=np.float64)))) or 1.0
