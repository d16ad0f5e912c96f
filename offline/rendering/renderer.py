"""What every renderer offers, so that an attack does not know which one it differentiates.

And what each of them refuses, in the same words.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from guard.errors import BadInput
from offline.rendering.scene import Scene

__all__ = ["Renderer", "check_scene", "check_size"]


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


def check_size(height: int, width: int, samples: int) -> None:
    """Refuse images without pixels.

    Raises:
        BadInput: a number is below 1.
    """
    if min(height, width, samples) < 1:
        raise BadInput(
            f"an image of {height} x {width} pixels of {samples} samples: each must be at least 1"
        )


def check_scene(scene: Scene, height: int, width: int) -> None:
    """Refuse scenes that no image of this size can be made of.

    Raises:
        BadInput: there is no scene, a scene parameter is NaN or infinite, or the background has
            another size.
    """
    if not len(scene):
        raise BadInput("a batch without a scene: at least one is wanted")
    size = tuple(scene.background.shape[2:])
    if size not in ((1, 1), (height, width)):
        raise BadInput(
            f"a background of {size[0]} x {size[1]} pixels: allowed are 1 x 1 and the "
            f"{height} x {width} of the images"
        )
    for name, value in scene.parameters().items():
        finite = value.isfinite().flatten(1).all(dim=1)
        if not finite.all():
            where = int((~finite).nonzero()[0, 0])
            raise BadInput(f"scene {where}: parameter {name!r} is NaN or infinite")
