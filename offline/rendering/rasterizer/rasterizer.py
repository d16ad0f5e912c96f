"""The default renderer: torch (and embree for shadows on the CPU), differentiable in all of θ."""

from dataclasses import dataclass
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from offline.rendering.camera import to_camera, to_screen, to_world
from offline.rendering.rasterizer.antialias import blend, edge_crossings
from offline.rendering.rasterizer.fragments import fragments
from offline.rendering.rasterizer.intersections import plane_crossings
from offline.rendering.rasterizer.outlines import outlines
from offline.rendering.rasterizer.shading import shade
from offline.rendering.rasterizer.shadow_borders import shadow_crossings
from offline.rendering.rasterizer.shadows import shadows
from offline.rendering.rasterizer.smooth_edges import without_smooth_edges
from offline.rendering.rasterizer.visibility import visible_faces
from offline.rendering.renderer import check_scene, check_size
from offline.rendering.scene import Scene

__all__ = ["Rasterizer"]


@dataclass(frozen=True)
class Rasterizer:
    """Renders by z-buffer, shades what is visible, and blends borders by analytic coverage.

    What is seen is found without a gradient; shading (`shade`) and the places of silhouettes,
    creases and intersections (`antialias`) carry the gradients. The same scenes give the same
    bits, and in another batch the same to rounding. Faces are seen from both sides; what of one is
    nearer than 0.05 to the camera's plane is cut off.
    """

    height: int
    width: int
    samples: int = 3
    """Sub-pixels along each side of a pixel, averaged: 1 is three times as fast, 3 follows detail
    that is finer than a pixel, in the image and in the gradient."""
    shadows: bool = False
    """Whether objects keep the light, and the lamps, from one another and from themselves."""

    def __post_init__(self) -> None:
        check_size(self.height, self.width, self.samples)

    def render(self, scene: Scene) -> Float[Tensor, "batch 3 height width"]:
        """Return RGB images: `radiance`, clamped to [0, 1].

        It is clamped after borders are blended and samples averaged, as a sensor gathers the light
        of a whole pixel before it is full. A border of a highlight above 1 is therefore wider and
        harder than its coverage, as in a photograph, and where a pixel is full its gradient is 0.
        Clamped before, it would be soft, but darker than what the other renderers and cameras see.

        Raises:
            BadInput: as `radiance`.
        """
        return self.radiance(scene).clamp(0, 1)

    def radiance(self, scene: Scene) -> Float[Tensor, "batch 3 height width"]:
        """Return the linear light of each pixel; where there is no object, the background.

        The background is a picture, not a light, and clamped to [0, 1].

        Raises:
            BadInput: a scene parameter is NaN or infinite, or the background has another size.
        """
        check_scene(scene, self.height, self.width)
        height, width = self._grid()
        positions = to_camera(to_world(scene), scene.camera)
        screen = to_screen(positions, scene.camera[:, 3], height, width)
        visible, inverse = visible_faces(screen.detach(), scene.faces, height, width)
        seen = fragments(scene, positions, visible)
        cast = shadows(scene, seen) if self.shadows else None
        shaded = shade(scene, seen, cast.lit() if cast else None)
        colours = self._background(scene).index_put((seen.number,), shaded)

        table = torch.full_like(visible, -1)
        table.view(-1)[seen.number] = torch.arange(len(seen.number), device=table.device)
        edges = outlines(screen, scene.faces, scene.edges, visible)
        borders = []
        for axis, stride in ((0, 1), (1, width)):
            outer = edge_crossings(edges, visible, inverse, axis)
            outer = without_smooth_edges(outer, stride, table, scene, seen)
            if cast:
                outer = shadow_crossings(cast, scene, seen, table, outer, axis)
            inner = plane_crossings(seen.planes, seen.rays, table, visible, outer.pixel, axis)
            inner = without_smooth_edges(inner, stride, table, scene, seen)
            borders += [(outer, stride), (inner, stride)]
        return self._averaged(blend(colours, borders))

    @torch.no_grad()
    def coverage(self, scene: Scene) -> Float[Tensor, " batch"]:
        """Return the fraction of samples in [0, 1] that show the subject; 0: it is out of view."""
        check_scene(scene, self.height, self.width)
        positions = to_camera(to_world(scene), scene.camera)
        screen = to_screen(positions, scene.camera[:, 3], *self._grid())
        visible, inverse = visible_faces(screen, scene.faces, *self._grid())
        owner = scene.face_owners().gather(1, visible.clamp_min(0).flatten(1)).view_as(visible)
        return ((visible >= 0) & (owner == 0)).to(inverse.dtype).mean(dim=(1, 2))

    def _grid(self) -> tuple[int, int]:
        return self.height * self.samples, self.width * self.samples

    def _averaged(self, fine: Float[Tensor, "sample 3"]) -> Float[Tensor, "batch 3 height width"]:
        """Average the samples of each pixel; sums of slices are several times as fast as `mean`."""
        lines = fine.view(-1, self.samples, self.width * self.samples * 3)
        rows = reduce(torch.add, lines.unbind(1))
        samples = rows.view(-1, self.height, self.width, self.samples, 3)
        columns = reduce(torch.add, samples.unbind(3))
        return (columns / self.samples**2).permute(0, 3, 1, 2).contiguous()

    def _background(self, scene: Scene) -> Float[Tensor, "sample 3"]:
        pixels = scene.background.clamp(0, 1).permute(0, 2, 3, 1)[:, :, None, :, None]
        shape = (-1, self.height, self.samples, self.width, self.samples, -1)
        return pixels.expand(shape).reshape(-1, 3)
