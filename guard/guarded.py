"""The guarded model: a classifier and its detector in one module, hence in one graph."""

from typing import Any, NamedTuple

from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from guard.deep_validation import DeepValidation
from guard.errors import BadInput
from guard.probes import ENERGY, INPUT, require_layers, watch

__all__ = ["GuardedClassifier", "GuardedOutput", "require_logits"]


class GuardedOutput(NamedTuple):
    """What a guarded classifier says of a batch: the outputs of the exported graph, in order.

    Attributes:
        logits: the model's own, unchanged.
        label: the class of the largest logit.
        discrepancy: one per single validator; positive for outliers.
        score: the joint discrepancy.
        p_value: of the score among the clean calibration scores; small for corner cases.
        valid: score <= threshold.
    """

    logits: Float[Tensor, "batch class"]
    label: Int64[Tensor, " batch"]
    discrepancy: Float[Tensor, "batch layer"]
    score: Float[Tensor, " batch"]
    p_value: Float[Tensor, " batch"]
    valid: Bool[Tensor, " batch"]


class GuardedClassifier(nn.Module):
    """A classifier that says of each image whether its own answer is to be trusted.

    The model runs once; the detector reads the layers that it watches on the way. Neither is
    changed.

    Raises:
        BadInput: the model lacks a layer that the detector watches.
    """

    def __init__(self, model: nn.Module, detector: DeepValidation) -> None:
        super().__init__()
        require_layers(model, detector.layers)
        self.model, self.detector = model, detector

    def forward(
        self,
        images: Float[Tensor, "batch channel height width"],
        threshold: Float[Tensor, "1"] | None = None,
    ) -> GuardedOutput:
        """Classify and validate images in [0, 1]; `threshold` stands in for the calibrated one.

        Raises:
            BadInput: the model's output is not [batch, class].
        """
        seen = self.observe(images)
        logits: Tensor = seen[ENERGY]
        label = logits.argmax(dim=1)
        found = self.detector(seen, label, threshold)
        return GuardedOutput(logits, label, *found)

    def observe(self, images: Float[Tensor, "batch channel height width"]) -> dict[str, Any]:
        """Run the model; return what the probes see: the images, the logits, each layer's output.

        Raises:
            BadInput: the model's output is not [batch, class].
        """
        with watch(self.model, self.detector.layers) as activations:
            logits = require_logits(self.model(images))
        return {INPUT: images, ENERGY: logits, **activations}


def require_logits(output: object) -> Tensor:
    """Return the model's output if it is [batch, class].

    Raises:
        BadInput: it is not; the message names the shape seen.
    """
    if isinstance(output, Tensor) and output.ndim == 2:
        return output
    seen = list(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
    raise BadInput(
        f"model: its output is {seen}; logits [batch, class] are wanted; "
        "wrap it in a module that gives them alone"
    )
