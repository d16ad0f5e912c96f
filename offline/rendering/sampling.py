"""Random scenes: an object of a class, seen from a random place under a random light."""

from collections.abc import Sequence
from typing import Annotated

import torch
from jaxtyping import Float, Int64
from pydantic import AfterValidator, Field
from torch import Tensor
from torch.nn.functional import interpolate

from guard.errors import BadInput
from guard.settings import Settings
from offline.rendering.composing import single, uniform_environment
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.procedural import CLASSES, procedural_mesh
from offline.rendering.scene import Scene

__all__ = ["SceneRanges", "place_meshes", "sample_scenes"]


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"a range from low to high is wanted, {ends[0]} is above {ends[1]}")
    return ends


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]


class SceneRanges(Settings):
    """The ranges of scene parameters, drawn from uniformly; lengths in radii of the object."""

    azimuth: Range = (-25.0, 95.0)
    """Degrees; 0 sees the side of an object that faces +x, 90 its front: three-quarters ± 60."""
    elevation: Range = (5.0, 35.0)
    """Degrees above the ground."""
    distance: Range = (2.9, 3.5)
    field_of_view: Range = (38.0, 42.0)
    """Degrees, from the lower to the upper border."""
    shift: float = Field(0.12, ge=0)
    """Most that the object is moved along each of x, y, z."""
    scale: Range = (0.85, 1.1)
    light_azimuth: float = Field(70.0, ge=0, le=180)
    """Most degrees between the azimuths of camera and light."""
    light_elevation: Range = (25.0, 70.0)
    intensity: Range = (0.5, 0.85)
    ambient: Range = (0.25, 0.45)
    gloss: Range = (0.0, 0.35)
    noise: float = Field(0.02, ge=0, le=0.5)
    """Standard deviation of the background's grain."""


def sample_scenes(
    labels: Int64[Tensor, " batch"],
    generator: torch.Generator,
    size: int | tuple[int, int],
    ranges: SceneRanges | None = None,
) -> Scene:
    """Draw a new procedural object of each label (a number in `CLASSES`) and place it in a scene.

    Raises:
        BadInput: a label is no number of a class.
    """
    wrong = labels[(labels < 0) | (labels >= len(CLASSES))]
    if len(wrong):
        raise BadInput(f"label {int(wrong[0])}: allowed are 0 to {len(CLASSES) - 1}")
    meshes = [procedural_mesh(CLASSES[label], generator) for label in labels.tolist()]
    return place_meshes(meshes, generator, size, ranges)


def place_meshes(
    meshes: Sequence[Mesh],
    generator: torch.Generator,
    size: int | tuple[int, int],
    ranges: SceneRanges | None = None,
) -> Scene:
    """Put each mesh into a random scene before a random sky and ground, of `size` pixels.

    Pose is 0: the object stands upright, and the camera goes round it. `size` is height and width,
    or one number for both. Everything is drawn from the generator, on the CPU.
    """
    ranges = ranges or SceneRanges()
    count = len(meshes)
    scene = single(meshes)

    def draw(low: float, high: float) -> Float[Tensor, " batch"]:
        return low + (high - low) * torch.rand(count, generator=generator)

    azimuth = torch.deg2rad(draw(*ranges.azimuth))
    camera = torch.stack(
        (
            draw(*ranges.distance),
            azimuth,
            torch.deg2rad(draw(*ranges.elevation)),
            torch.deg2rad(draw(*ranges.field_of_view)),
            *torch.zeros(4, count),
        ),
        dim=1,
    )
    aside = azimuth + torch.deg2rad(draw(-ranges.light_azimuth, ranges.light_azimuth))
    above = torch.deg2rad(draw(*ranges.light_elevation))
    direction = (above.cos() * aside.sin(), above.sin(), above.cos() * aside.cos())
    light = torch.stack((*direction, *[draw(*ranges.intensity)] * 3), dim=1)
    ambient = draw(*ranges.ambient)[:, None].expand(-1, 3)
    height, width = (size, size) if isinstance(size, int) else size
    placed = scene.replace(
        translation=torch.stack([draw(-ranges.shift, ranges.shift) for _ in range(3)], 1)[:, None],
        scale=draw(*ranges.scale)[:, None],
        light=light,
        environment=uniform_environment(ambient),
        camera=camera,
        background=_backgrounds(count, height, width, ranges.noise, generator),
    )
    return placed.with_gloss(draw(*ranges.gloss)[:, None])


def _backgrounds(
    count: int, height: int, width: int, noise: float, generator: torch.Generator
) -> Float[Tensor, "{count} 3 {height} {width}"]:
    """Draw a sky that fades to the horizon, a ground of another colour, soft patches and grain."""

    def colours(low: float, high: float, spread: float) -> Tensor:
        base = low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)
        tint = spread * (torch.rand(count, 3, 1, 1, generator=generator) - 0.5)
        return base + tint

    sky, haze, ground, near = (
        colours(0.45, 0.85, 0.3),
        colours(0.7, 0.95, 0.1),
        colours(0.25, 0.65, 0.2),
        colours(0.25, 0.65, 0.2),
    )
    rows = torch.linspace(0, 1, height)[:, None]
    horizon = 0.25 + 0.4 * torch.rand(count, 1, 1, 1, generator=generator)
    up = (rows / horizon).clamp(0, 1)
    down = ((rows - horizon) / (1 - horizon)).clamp(0, 1)
    edge = ((rows - horizon) * height / 2).clamp(-0.5, 0.5) + 0.5
    image = (sky + (haze - sky) * up) * (1 - edge) + (ground + (near - ground) * down) * edge
    patches = torch.randn(count, 1, 6, 6, generator=generator) * 0.04
    image = image + interpolate(patches, size=(height, width), mode="bilinear", align_corners=True)
    grain = torch.randn(count, 3, height, width, generator=generator) * noise
    return (image + grain).clamp(0, 1).expand(count, 3, height, width).contiguous()
