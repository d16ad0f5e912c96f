"""How detection grows with distortion: Figure 3.4.

A good detector finds every successful corner case, however slight, and calls ever more of the
failed ones as the model nears its limits.
"""

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from offline.corner_cases import TRANSFORMATIONS, Deformation, Seeds
from offline.corner_cases.transformations import Border
from offline.evaluation.inspection import inspect
from offline.evaluation.rates import Rate, rate
from offline.models import device_of

__all__ = ["DistortionCurve", "detection_under_distortion"]


@dataclass(frozen=True)
class DistortionPoint:
    """One strength: how often the model errs, and which share of SCCs and FCCs is detected."""

    configuration: tuple[float, ...]
    success_rate: float
    detected: Rate | None
    detected_failed: Rate | None


@dataclass(frozen=True)
class DistortionCurve:
    """Points in the order of growing strength."""

    name: str
    points: tuple[DistortionPoint, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the curve as values that JSON knows."""
        return asdict(self)


def detection_under_distortion(
    guarded: nn.Module,
    seeds: Seeds,
    name: str,
    *,
    border: Border = "zeros",
    steps: int = 16,
) -> DistortionCurve:
    """Inspect the seeds under up to `steps` evenly spaced strengths of one transformation.

    Where it has two parameters both grow alike, as the scale ratios of Figure 3.4 do.
    """
    path = TRANSFORMATIONS[name].diagonal
    last = min(steps, len(path)) - 1
    chosen = [path[round(step * (len(path) - 1) / max(last, 1))] for step in range(last + 1)]
    images = seeds.images.to(device_of(guarded))
    points = []
    for configuration in chosen:
        seen = inspect(guarded, Deformation(((name, configuration),), border)(images))
        errs, flagged = seen.labels != seeds.labels, ~seen.valid
        wrong, right = int(errs.sum()), int((~errs).sum())
        points.append(
            DistortionPoint(
                configuration=configuration,
                success_rate=wrong / len(errs),
                detected=rate(int((errs & flagged).sum()), wrong),
                detected_failed=rate(int((~errs & flagged).sum()), right),
            )
        )
    return DistortionCurve(name, tuple(points))
