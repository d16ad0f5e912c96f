"""What every renderer offers, so that an attack does not know which one it differentiates."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from offline.rendering.scene import Scene

__all__ = ["Renderer"]


@runtime_checkable
class Renderer(Protocol):
    """Makes images of scenes, differentiable in every scene parameter."""

    def radiance(self, scene: Scene) -> Float[Tensor, "batch 3 height width"]:
        """Return the linear light of each pixel, 0 or more: 1 is a white surface in light of 1.

        Of the dtype and on the device of the scene. This is what a model of a camera starts from.
        """
        ...

    def render(self, scene: Scene) -> Float[Tensor, "batch 3 height width"]:
        """Return RGB images: `radiance`, clamped to [0, 1]."""
        ...

    def coverage(self, scene: Scene) -> Float[Tensor, " batch"]:
        """Return the fraction of pixels in [0, 1] that show the subject; 0: it is out of view."""
        ...
