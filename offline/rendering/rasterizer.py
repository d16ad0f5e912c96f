"""The default renderer: torch alone, on CPU or CUDA, differentiable in every scene parameter."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from guard.errors import BadInput
from offline.rendering.antialias import blend, edge_crossings
from offline.rendering.camera import to_camera, to_screen, to_world
from offline.rendering.fragments import fragments
from offline.rendering.intersections import plane_crossings
from offline.rendering.scene import Scene
from offline.rendering.shading import shade
from offline.rendering.shadow_borders import shadow_crossings
from offline.rendering.shadows import shadows
from offline.rendering.visibility import visible_faces

__all__ = ["Rasterizer"]


@dataclass(frozen=True)
class Rasterizer:
    """Renders by z-buffer, shades what is visible, and blends borders by analytic coverage.

    What is seen is found without a gradient; shading (`shade`) and the places of silhouettes,
    creases and intersections (`antialias`) carry the gradients. The same scenes give the same
    bits, however they are batched. Faces are flat and seen from both sides; a face that reaches
    nearer to the camera's plane than 0.05 is left out.
    """

    height: int
    width: int
    samples: int = 2
    """Sub-pixels along each side of a pixel, averaged: 1 is twice as fast, 2 follows detail that is
    finer than a pixel, in the image and in the gradient."""
    shadows: bool = False
    """Whether objects keep the light, and the lamps, from one another and from themselves."""

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.samples) < 1:
            raise BadInput(
                f"an image of {self.height} x {self.width} pixels of {self.samples} samples: "
                "each must be at least 1"
            )

    def render(self, scene: Scene) -> Float[Tensor, "batch 3 height width"]:
        """Return RGB images in [0, 1]; where there is no object, the background.

        Raises:
            BadInput: a scene parameter is NaN or infinite, or the background has another size.
        """
        self._check(scene)
        height, width = self._grid()
        positions = to_camera(to_world(scene), scene.camera)
        screen = to_screen(positions, scene.camera[:, 3], height, width)
        visible, inverse = visible_faces(screen.detach(), scene.faces, height, width)
        seen = fragments(scene, positions, visible)
        cast = shadows(scene, positions, seen) if self.shadows else None
        shaded = shade(scene, seen, cast.lit() if cast else None)
        colours = self._background(scene).index_put((seen.number,), shaded)

        # A face seen edge on has no plane on the screen; 1 keeps its gradient, which is 0, finite.
        planes = seen.normals / torch.where(seen.offsets == 0, 1, seen.offsets)
        table = torch.full_like(visible, -1)
        table.view(-1)[seen.number] = torch.arange(len(seen.number), device=table.device)
        borders = []
        for axis, stride in ((0, 1), (1, width)):
            edges = edge_crossings(screen, scene.faces, scene.edges, visible, inverse, axis)
            if cast:
                edges = shadow_crossings(cast, scene, positions, seen, planes, table, edges, axis)
            inner = plane_crossings(planes, seen.rays, table, visible, edges.pixel, axis)
            borders += [(edges, stride), (inner, stride)]
        fine = blend(colours, borders).view(
            -1, self.height, self.samples, self.width, self.samples, 3
        )
        return fine.mean(dim=(2, 4)).permute(0, 3, 1, 2).contiguous()

    @torch.no_grad()
    def coverage(self, scene: Scene) -> Float[Tensor, " batch"]:
        """Return the fraction of samples in [0, 1] that show the subject; 0: it is out of view."""
        self._check(scene)
        positions = to_camera(to_world(scene), scene.camera)
        screen = to_screen(positions, scene.camera[:, 3], *self._grid())
        visible, inverse = visible_faces(screen, scene.faces, *self._grid())
        first = scene.faces[torch.arange(len(scene))[:, None, None], visible, 0]
        owner = scene.owners[torch.arange(len(scene))[:, None, None], first]
        return ((visible >= 0) & (owner == 0)).to(inverse.dtype).mean(dim=(1, 2))

    def _grid(self) -> tuple[int, int]:
        return self.height * self.samples, self.width * self.samples

    def _background(self, scene: Scene) -> Float[Tensor, "sample 3"]:
        pixels = scene.background.clamp(0, 1).permute(0, 2, 3, 1)[:, :, None, :, None]
        shape = (-1, self.height, self.samples, self.width, self.samples, -1)
        return pixels.expand(shape).reshape(-1, 3)

    def _check(self, scene: Scene) -> None:
        size = tuple(scene.background.shape[2:])
        if size not in ((1, 1), (self.height, self.width)):
            raise BadInput(
                f"a background of {size[0]} x {size[1]} pixels: allowed are 1 x 1 and the "
                f"{self.height} x {self.width} of the images"
            )
        for name, value in scene.parameters().items():
            finite = value.isfinite().reshape(len(scene), -1).all(dim=1)
            if not finite.all():
                where = int((~finite).nonzero()[0, 0])
                raise BadInput(f"scene {where}: parameter {name!r} is NaN or infinite")
