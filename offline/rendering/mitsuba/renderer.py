"""The renderer: torch before and after, Mitsuba between, one scene of a batch after the other."""

import dataclasses
import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from guard.errors import BadInput, CornerguardError
from offline.rendering.composing import uniform_environment
from offline.rendering.mitsuba.llvm import find_llvm
from offline.rendering.mitsuba.surfaces import Inputs, Topology, inputs, topology
from offline.rendering.renderer import check_scene, check_size
from offline.rendering.scene import Scene

__all__ = ["Mitsuba"]


@dataclass(frozen=True)
class Mitsuba:
    """Renders by ray tracing and differentiates by projective sampling, with Mitsuba 3.

    Mitsuba's part: rays and what they hit, the reconstruction of pixels, the derivative through
    both, and the derivative of what moving edges uncover (Zhang et al., "Projective Sampling for
    Differentiable Rendering of Geometry", 2023; its `direct_projective`). Ours, because Mitsuba has
    no derivative by a light's direction or a lamp's place, and none at the edge between two faces
    that are both visible: the shading, by the formulas of `Scene` and without shadows, and the
    choice of edges.
    Places where faces pass through each other are borders without an edge: they have no gradient of
    their own here.

    Noise is that of `samples`, and the same in every call: images are the same bits twice, and
    gradients the same to rounding, however scenes are batched. All is computed in float32.
    """

    height: int
    width: int
    samples: int = 4
    """Rays of a pixel along each side of it: 4 are 16 rays."""
    variant: str | None = None
    """`llvm_ad_rgb`, `cuda_ad_rgb`, or by where the scene is."""
    seed: int = 0
    """Of the places of rays; gradients take others than the image."""

    def __post_init__(self) -> None:
        check_size(self.height, self.width, self.samples)
        if self.variant not in (None, *_DEVICES):
            raise BadInput(f"Mitsuba variant {self.variant!r}: allowed are {', '.join(_DEVICES)}")
        if not 0 <= self.seed < 1 << 30:
            raise BadInput(f"seed {self.seed}: allowed are 0 to {(1 << 30) - 1}")

    def radiance(self, scene: Scene) -> Float[Tensor, "batch 3 height width"]:
        """Return the linear light of each pixel; where there is no object, the background.

        Raises:
            BadInput: a scene parameter is NaN or infinite, or the background has another size.
            CornerguardError: Mitsuba, or what its variant needs, is not installed.
        """
        check_scene(scene, self.height, self.width)
        _load(self.variant or f"{'cuda' if scene.points.is_cuda else 'llvm'}_ad_rgb")
        images = []
        for number in range(len(scene)):
            one = scene[number]
            part = topology(one)
            images.append(_Image.apply(self, part, *inputs(one, part)))
        return torch.stack(images).permute(0, 3, 1, 2).to(scene.points)

    def render(self, scene: Scene) -> Float[Tensor, "batch 3 height width"]:
        """Return RGB images: `radiance`, clamped to [0, 1]."""
        return self.radiance(scene).clamp(0, 1)

    @torch.no_grad()
    def coverage(self, scene: Scene) -> Float[Tensor, " batch"]:
        """Return the fraction of rays in [0, 1] that meet the subject; 0: it is out of view."""
        check_scene(scene, self.height, self.width)
        white = torch.zeros_like(scene.colour)
        white[:, 0] = 1
        shown = dataclasses.replace(
            scene,
            face_colours=torch.ones_like(scene.face_colours),
            gloss=torch.zeros_like(scene.gloss),
            tile=torch.full_like(scene.tile, -1),
            colour=white,
            light=torch.zeros_like(scene.light),
            lamps=scene.lamps[:, :0],
            environment=uniform_environment(white[:, 0]),
            background=torch.zeros_like(scene.background[:, :, :1, :1]),
            fog=torch.zeros_like(scene.fog),
        )
        return self.radiance(shown).mean(dim=(1, 2, 3))


_DEVICES = {"llvm_ad_rgb": "cpu", "cuda_ad_rgb": "cuda"}


class _Image(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, renderer: Mitsuba, part: Topology, *values: Tensor) -> Tensor:
        from offline.rendering.mitsuba import scenes

        ctx.renderer, ctx.part = renderer, part
        ctx.save_for_backward(*values)
        size, rays = (renderer.height, renderer.width), renderer.samples**2
        return scenes.image(Inputs(*values), part, size, rays, 2 * renderer.seed)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor | None, ...]:
        from offline.rendering.mitsuba import scenes

        renderer, values = ctx.renderer, Inputs(*ctx.saved_tensors)
        size, rays = (renderer.height, renderer.width), renderer.samples**2
        seed, wanted = 2 * renderer.seed + 1, ctx.needs_input_grad[2:]
        found = scenes.gradients(values, ctx.part, size, rays, seed, change, wanted)
        found = [
            None if slope is None else slope.to(value)
            for slope, value in zip(found, values, strict=True)
        ]
        return None, None, *found


def _load(variant: str) -> None:
    """Set Mitsuba's variant, for which the compiler must be known before Dr.Jit starts."""
    if variant.startswith("llvm"):
        os.environ.setdefault("DRJIT_LIBLLVM_PATH", str(_llvm()))
    try:
        import mitsuba
    except ModuleNotFoundError:
        raise CornerguardError(
            "Mitsuba is not installed: `pip install 'cornerguard[mitsuba]'` provides it"
        ) from None
    try:
        if mitsuba.variant() != variant:
            mitsuba.set_variant(variant)
    except ImportError as error:
        raise CornerguardError(f"Mitsuba cannot start its variant {variant}: {error}") from None


_llvm = cache(find_llvm)
