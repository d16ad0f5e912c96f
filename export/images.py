"""The images that exporting needs: real ones to compare on, clean ones to calibrate on."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

from guard.deep_validation import DeepValidation

__all__ = ["Calibration", "Images"]


@runtime_checkable
class Images(Protocol):
    """Real images, fetched by index; `offline.datasets.ImageSet` is one."""

    def __len__(self) -> int: ...

    def fetch(self, indices: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """Return the images at `indices`, float32 in [0, 1]."""


class Calibration(NamedTuple):
    """How a detector's threshold is set for a graph whose scores have moved.

    Attributes:
        images: clean ones that took no part in training.
        apply: sets a detector's joint and threshold from the discrepancies [n, layer] and the
            predicted labels [n] of these images, in their order; see
            `offline.fitting.calibrate_on`.
    """

    images: Images
    apply: Callable[[DeepValidation, Tensor, Tensor], None]
