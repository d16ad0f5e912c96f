"""What a search for natural corner cases found, and what it dropped."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from offline.corner_cases.search_space import Deformation

__all__ = ["CornerCaseSearch", "CornerCases", "Dropped"]


@dataclass(frozen=True, eq=False)
class CornerCases:
    """The seed images under one deformation, and what the model made of them; on the CPU."""

    name: str
    deformation: Deformation
    images: Float[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]
    predictions: Int64[Tensor, " n"]
    confidences: Float[Tensor, " n"]

    @property
    def succeeded(self) -> Bool[Tensor, " n"]:
        """True for a successful corner case (SCC): the model errs. False for a failed one (FCC)."""
        return self.predictions != self.labels

    @property
    def success_rate(self) -> float:
        """The share of images that the model gets wrong."""
        return int(self.succeeded.sum()) / len(self.labels)

    def summary(self) -> dict[str, Any]:
        """One line of Table 3.5 as plain values."""
        return {
            "transformation": self.name,
            "configuration": self.deformation.describe(),
            "success_rate": self.success_rate,
            "mean_confidence": self.confidences.mean().item(),
        }


@dataclass(frozen=True)
class Dropped:
    """A transformation that gave no corner cases, and why; the rate is None if none was tried."""

    name: str
    reason: str
    success_rate: float | None


@dataclass(frozen=True, eq=False)
class CornerCaseSearch:
    """What the search kept, in the order of the search space, `combined` last; and the rest."""

    kept: tuple[CornerCases, ...]
    dropped: tuple[Dropped, ...]
