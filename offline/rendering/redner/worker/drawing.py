"""What redner draws of one scene, and by which of its lights. Runs under Python 3.8."""

import math
from typing import Any, Dict, Tuple  # noqa: UP035 (Python 3.8 has no tuple[int, int])

import pyredner
import redner
import torch
from torch import Tensor

__all__ = ["SceneTensors", "draw", "faces_seen"]

SceneTensors = Dict[str, Tensor]  # noqa: UP006
Size = Tuple[int, int]  # noqa: UP006
_CPU = torch.device("cpu")
_BACKWARD_SEED = 1000003  # as pyredner: other random numbers on the way back, else it is biased
_PALETTE_WIDTH = 4096
_NEAR = 0.05  # as the rasterizer

pyredner.set_print_timing(False)
pyredner.set_use_gpu(False)


class _Harmonics(pyredner.DeferredLight):  # type: ignore[misc]
    """Light from all around, which redner's deferred shading has in one uniform colour only.

    The real spherical harmonics of `coefficients`, `[9, 3]`, as a Lambertian surface reflects them
    (Ramamoorthi and Hanrahan, "An Efficient Representation for Irradiance Environment Maps", 2001).
    """

    def __init__(self, coefficients: Tensor) -> None:
        self.coefficients = coefficients

    def render(self, position: Tensor, normal: Tensor, albedo: Tensor) -> Tensor:
        x, y, z = normal.unbind(-1)
        first, second = math.sqrt(3 / (4 * math.pi)), math.sqrt(15 / (4 * math.pi))
        basis = (
            torch.full_like(x, math.sqrt(1 / (4 * math.pi))),
            2 / 3 * first * y,
            2 / 3 * first * z,
            2 / 3 * first * x,
            second / 4 * x * y,
            second / 4 * y * z,
            math.sqrt(5 / (16 * math.pi)) / 4 * (2 * z * z - x * x - y * y),
            second / 4 * x * z,
            second / 8 * (x * x - y * y),
        )
        return albedo * (torch.stack(basis, dim=-1) @ self.coefficients)


def draw(scene: SceneTensors, size: Size, samples: int, seed: int) -> Tensor:
    """Return `[4, height, width]`: linear RGB of the objects, and the share that they cover.

    As `pyredner.render_deferred`, but for its random numbers: that one takes Sobol's, of which a
    single sample a pixel places alike the edge samples of all pixels, and the gradients of shape
    are wrong by a tenth, however many samples there are. Independent ones have no such error.
    """
    channels = (
        redner.channels.position,
        redner.channels.shading_normal,
        redner.channels.diffuse_reflectance,
        redner.channels.alpha,
    )
    buffer = _buffer(scene, size, samples, seed, channels)
    position, normal, albedo, alpha = buffer.split([3, 3, 3, 1], dim=2)
    light = scene["light"]
    lights = (
        pyredner.DirectionalLight(-light[:3], math.pi * light[3:]),
        _Harmonics(scene["environment"]),
    )
    colours = [each.render(position, normal, albedo) for each in lights]
    fine = torch.cat((torch.stack(colours).sum(0), alpha), dim=2).permute(2, 0, 1)
    return torch.nn.functional.avg_pool2d(fine[None], samples)[0]


def faces_seen(scene: SceneTensors, size: Size, samples: int, seed: int) -> Tensor:
    """Return `[height · samples, width · samples]`: the face that each sample sees; -1: none."""
    channels = (redner.channels.triangle_id, redner.channels.alpha)
    with torch.no_grad():
        number, alpha = _buffer(scene, size, samples, seed, channels).unbind(2)
    return torch.where(alpha > 0, number, torch.full_like(number, -1))


def _buffer(
    scene: SceneTensors,
    size: Size,
    samples: int,
    seed: int,
    channels: Tuple[Any, ...],  # noqa: UP006
) -> Tensor:
    arguments = pyredner.RenderFunction.serialize_scene(
        scene=_scene(scene, (size[0] * samples, size[1] * samples)),
        num_samples=(1, 1),
        max_bounces=0,
        sampler_type=redner.SamplerType.independent,
        channels=list(channels),
        use_secondary_edge_sampling=False,
        device=_CPU,
    )
    buffer: Tensor = pyredner.RenderFunction.apply((seed, seed + _BACKWARD_SEED), *arguments)
    return buffer


def _scene(scene: SceneTensors, size: Size) -> Any:
    faces = scene["faces"][scene["faces"][:, 0] >= 0].contiguous()
    camera = pyredner.Camera(
        position=scene["position"],
        look_at=scene["target"],
        up=scene["up"],
        fov=scene["field"],
        resolution=size,
        clip_near=_NEAR,
    )
    palette, places = _palette(scene["colours"][: len(faces)])
    numbers = torch.arange(len(faces), dtype=torch.int32)[:, None].repeat(1, 3)
    shape = pyredner.Shape(
        vertices=scene["vertices"], indices=faces, material_id=0, uvs=places, uv_indices=numbers
    )
    return pyredner.Scene(camera=camera, shapes=[shape], materials=[palette])


def _palette(colours: Tensor) -> Tuple[Any, Tensor]:  # noqa: UP006
    """Put the colour of each face into one texel; return the material and the texels' places.

    So faces share their vertices, and redner knows which of their edges are one. Were vertices
    doubled for the colours of their faces, every edge would be differentiated twice.
    """
    width = min(len(colours), _PALETTE_WIDTH)
    rows = -(-len(colours) // width)
    padded = torch.nn.functional.pad(colours, (0, 0, 0, rows * width - len(colours)))
    texture = pyredner.Texture(torch.zeros(3))
    texture.mipmap = [padded.view(rows, width, 3).contiguous()]  # coarser ones would mix faces
    number = torch.arange(len(colours))
    column, row = number % width, torch.div(number, width, rounding_mode="floor")
    places = torch.stack(((column + 0.5) / width, (row + 0.5) / rows), dim=1)
    return pyredner.Material(diffuse_reflectance=texture), places.contiguous()
