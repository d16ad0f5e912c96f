"""From radiance to what a camera writes: exposure, vignetting, sensor noise, the tone curve."""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from guard.errors import BadInput
from guard.settings import Settings
from offline.rendering.camera import pixel_rays
from offline.rendering.renderer import Renderer
from offline.rendering.scene import Scene

__all__ = ["ImageFormation", "Photographed", "srgb"]


class ImageFormation(Settings):
    """How a camera makes an image of radiance.

    Attributes:
        exposure: stops; each doubles the light.
        curve: `srgb` (IEC 61966-2-1), `gamma` (light^(1/gamma)), or `linear`.
        gamma: of the curve `gamma`.
        full_well: electrons that white is to a pixel of the sensor; fewer is noisier. 0: no noise.
        read_noise: standard deviation of the noise of the read-out, in electrons.
        vignetting: share of the natural fall-off, cos⁴ of the angle to the view, in [0, 1].
    """

    exposure: float = Field(0.0, ge=-10, le=10)
    curve: Literal["srgb", "gamma", "linear"] = "srgb"
    gamma: float = Field(2.2, ge=0.2, le=5)
    full_well: float = Field(0.0, ge=0, le=1e7)
    read_noise: float = Field(3.0, ge=0, le=1000)
    vignetting: float = Field(0.0, ge=0, le=1)


class Photographed:
    """A renderer whose images look as if a camera took them; differentiable like the one within.

    Image i of a batch has the noise of the generator seeded by `seed + i`, in every call: the same
    scenes give the same image, and a gradient is that of one image (the noise is reparametrised).

    Args:
        renderer: whose `radiance` is photographed.
        settings: of the camera.
        seed: of the noise, at least 0.
    """

    def __init__(
        self, renderer: Renderer, settings: ImageFormation | None = None, seed: int = 0
    ) -> None:
        if seed < 0:
            raise BadInput(f"a seed of at least 0 is wanted, not {seed}")
        self.renderer, self.settings, self.seed = (renderer, settings or ImageFormation(), seed)

    def radiance(self, scene: Scene) -> Float[Tensor, "batch 3 height width"]:
        """Return the light that the sensor measures, linear, not clamped, with its noise."""
        light = self.renderer.radiance(scene) * 2.0**self.settings.exposure
        if self.settings.vignetting:
            light = light * self._vignette(scene, light)
        return light if self.settings.full_well == 0 else self._noisy(light)

    def render(self, scene: Scene) -> Float[Tensor, "batch 3 height width"]:
        """Return RGB images in [0, 1], in the camera's tone curve."""
        light = self.radiance(scene).clamp(0, 1)
        if self.settings.curve == "srgb":
            return srgb(light)
        if self.settings.curve == "gamma":
            # The slope at 0 is infinite; from 1e-6 on gradients stay finite.
            return light.clamp_min(1e-6) ** (1 / self.settings.gamma)
        return light

    def coverage(self, scene: Scene) -> Float[Tensor, " batch"]:
        """Return the share of samples in [0, 1] that show the subject."""
        return self.renderer.coverage(scene)

    def _noisy(self, light: Tensor) -> Tensor:
        """Add shot noise, whose variance is the light's in electrons, and that of the read-out."""
        draws = [
            torch.randn(light.shape[1:], generator=torch.Generator().manual_seed(self.seed + i))
            for i in range(len(light))
        ]
        electrons = light.clamp_min(0) * self.settings.full_well
        deviation = (electrons + self.settings.read_noise**2).clamp_min(1e-6).sqrt()
        return light + torch.stack(draws).to(light) * deviation / self.settings.full_well

    def _vignette(self, scene: Scene, light: Tensor) -> Tensor:
        height, width = light.shape[2:]
        y, x = (
            torch.arange(size, device=light.device, dtype=light.dtype) for size in (height, width)
        )
        y, x = y.repeat_interleave(width), x.repeat(height)
        rays = [pixel_rays(f.expand(len(y)), y, x, height, width) for f in scene.camera[:, 3]]
        fall = torch.stack(rays).square().sum(2).view(-1, 1, height, width) ** -2
        return 1 + self.settings.vignetting * (fall - 1)


def srgb(light: Float[Tensor, "*item"]) -> Float[Tensor, "*item"]:
    """Encode linear light in [0, 1] for a screen: the curve of sRGB, IEC 61966-2-1."""
    low = light <= 0.0031308
    return torch.where(low, 12.92 * light, 1.055 * light.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)
