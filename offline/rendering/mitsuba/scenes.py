"""One scene in Mitsuba: its image, and the gradients that Mitsuba's integrator propagates.

Imported when a variant of Mitsuba is set, on which all of its classes depend.
"""

import math
from collections.abc import Sequence
from typing import Any

import drjit as dr
import mitsuba as mi
from torch import Tensor

from offline.rendering.mitsuba.integrator import integrator_of
from offline.rendering.mitsuba.lighting import Surface
from offline.rendering.mitsuba.surfaces import Inputs, Topology
from offline.rendering.rasterizer.visibility import NEAR

__all__ = ["gradients", "image"]


def image(values: Inputs, part: Topology, size: tuple[int, int], rays: int, seed: int) -> Tensor:
    """Return the radiance `[height, width, 3]` of `rays` per pixel."""
    arrays = {name: _floats(value) for name, value in values._asdict().items()}
    surface = _surface(arrays, values, part, size)
    rendered: Tensor = (
        integrator_of(surface)
        .render(_scene(surface, part, size, rays), seed=seed, spp=rays)
        .torch()
    )
    return rendered


def gradients(
    values: Inputs,
    part: Topology,
    size: tuple[int, int],
    rays: int,
    seed: int,
    change: Tensor,
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Return the gradients of Σ change · image by the inputs; None by those that are not wanted.

    `change` is `[height, width, 3]`.
    """
    arrays = {name: _floats(value) for name, value in values._asdict().items()}
    asked = [array for array, want in zip(arrays.values(), wanted, strict=True) if want]
    dr.enable_grad(asked)
    surface = _surface(arrays, values, part, size)
    weights: Any = change.float().contiguous()
    integrator_of(surface).render_backward(
        _scene(surface, part, size, rays),
        None,
        mi.TensorXf(weights),
        seed=seed,
        spp=rays,
    )
    # What has no part in the image, or no length, has one 0 for its gradient.
    return [
        dr.grad(array).torch().expand(value.numel()).reshape(value.shape) if want else None
        for array, value, want in zip(arrays.values(), values, wanted, strict=True)
    ]


def _scene(surface: Surface, part: Topology, size: tuple[int, int], rays: int) -> Any:
    """Return one mesh before a camera at the origin that looks along -z, with y up."""
    screen = surface.arrays["screen"]
    mesh = mi.Mesh("objects", dr.width(screen) // 3, len(part.faces))
    parameters = mi.traverse(mesh)
    parameters["faces"] = surface.faces
    parameters["vertex_positions"] = screen
    parameters.update()
    film = {
        "type": "hdrfilm", "height": size[0], "width": size[1], "rfilter": {"type": "box"},
        "pixel_format": "rgb", "component_format": "float32",
    }  # fmt: skip
    camera = {
        "type": "perspective", "fov": math.degrees(part.field_of_view), "fov_axis": "y",
        "near_clip": NEAR, "film": film, "sampler": {"type": "multijitter", "sample_count": rays},
        "to_world": mi.ScalarTransform4f().look_at([0, 0, 0], [0, 0, -1], [0, 1, 0]),
    }  # fmt: skip
    return mi.load_dict({"type": "scene", "mesh": mesh, "camera": camera})


def _surface(
    arrays: dict[str, Any], values: Inputs, part: Topology, size: tuple[int, int]
) -> Surface:
    half = math.tan(part.field_of_view / 2)
    painted = len(part.tile) and len(part.tiles)
    return Surface(
        arrays=arrays,
        faces=mi.UInt32(_flat(part.faces)),
        edges=mi.UInt32(_flat(part.edges)),
        opposite=mi.UInt32(_flat(part.opposite)),
        pictures=(_floats(part.uv), mi.Int32(_flat(part.tile)), mi.Int32(_flat(part.tiles)))
        if painted
        else None,
        painted=len(part.tile),
        lamps=len(values.lamps),
        background=(values.background.shape[1], values.background.shape[2]),
        texture=(values.texture.shape[1], values.texture.shape[2]),
        half=(half, half * size[1] / size[0]),
    )


def _floats(value: Tensor) -> Any:
    return mi.Float(value.detach().float().contiguous().view(-1))


def _flat(numbers: Tensor) -> Tensor:
    return numbers.int().contiguous().view(-1)
