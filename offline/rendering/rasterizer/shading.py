"""The radiance of a surface: everything that lights it, its colour and picture, and the fog."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from offline.rendering.camera import to_camera, view_rotation
from offline.rendering.gathering import rows_of
from offline.rendering.rasterizer.fragments import FacesInSight, Fragments
from offline.rendering.rasterizer.lighting import (
    blinn_phong,
    environment_light,
    lambert,
    lamp_light,
    through_fog,
)
from offline.rendering.rasterizer.normals import flat_normals, smooth_normals
from offline.rendering.rasterizer.textures import picture_colours
from offline.rendering.scene import Scene

__all__ = ["shade"]


def shade(
    scene: Scene, seen: Fragments, lit: Float[Tensor, "fragment light"] | None = None
) -> Float[Tensor, "fragment 3"]:
    """Return linear RGB of what is seen, 0 or more and without an upper bound.

    base · (environment(n) + Σ_i lit_i light_i max(n·l_i, 0)) + gloss · Σ_i lit_i light_i
    [n·l_i > 0] max(n·h_i, 0)^32, then dimmed by the fog. Here base is the product of the colours of
    face, object and picture, n the normal on the side of the camera, and the lights are the one at
    infinity and then the lamps.

    Args:
        scene: what is rendered.
        seen: the fragments of the scene.
        lit: share in [0, 1] of each light, the one at infinity first and then the lamps, that
            arrives at each fragment; all of it where it is left out.
    """
    base, gloss, towards, light = rows_of(seen.slot, _faces(scene, seen.faces)).split(
        [3, 1, 3, 3], dim=1
    )
    smooth, painted = scene.smoothing.shape[1] > 0, scene.tile.shape[1] > 0
    if smooth or painted:
        weights = seen.weights()
    normal, matt = _smooth(scene, seen, weights) if smooth else _flat(scene, seen)
    if painted:
        base = base * picture_colours(scene, seen, weights)

    lights = [(towards, light), *_lamps(scene, seen)]
    view = -normalize(seen.rays, dim=1) if _matters(scene.gloss) else None
    mirrored = torch.zeros_like(matt)
    for i, (towards, light) in enumerate(lights):
        arriving = light if lit is None else light * lit[:, i : i + 1]
        matt = matt + arriving * lambert(normal, towards)
        if view is not None:
            mirrored = mirrored + arriving * blinn_phong(normal, towards, view)
    colours: Tensor = base * matt if view is None else base * matt + gloss * mirrored
    if not _matters(scene.fog[:, 0]):
        return colours
    distance = seen.places().norm(dim=1, keepdim=True)
    return through_fog(colours, distance, rows_of(seen.scene, scene.fog))


def _faces(scene: Scene, faces: FacesInSight) -> Tensor:
    """Return of each face: base colour, gloss, direction and RGB of the light at infinity."""
    number = faces.scene * scene.faces.shape[1] + faces.number
    owner = faces.scene * scene.colour.shape[1] + faces.object
    colour = rows_of(owner, scene.colour.reshape(-1, 3))
    base = rows_of(number, scene.face_colours.reshape(-1, 3)) * colour
    gloss = scene.gloss.reshape(-1, 1)[owner]
    return torch.cat((base, gloss, rows_of(faces.scene, _light_at_infinity(scene))), dim=1)


def _light_at_infinity(scene: Scene) -> Tensor:
    """Return the unit direction towards it, in camera axes, and its RGB: `[batch, 6]`."""
    direction = normalize(scene.light[:, :3], dim=1)[:, :, None]
    towards = (view_rotation(scene.camera) @ direction)[:, :, 0]
    return torch.cat((towards, scene.light[:, 3:]), dim=1)


def _lamps(scene: Scene, seen: Fragments) -> list[tuple[Tensor, Tensor]]:
    """Return the direction towards each lamp, and what arrives of it, at every fragment."""
    if not scene.lamps.shape[1]:
        return []
    moved = torch.cat((to_camera(scene.lamps[..., :3], scene.camera), scene.lamps[..., 3:]), dim=2)
    lamps = rows_of(seen.scene, moved.flatten(1)).split(6, dim=1)
    places = seen.places()
    return [lamp_light(places, lamp) for lamp in lamps]


def _flat(scene: Scene, seen: Fragments) -> tuple[Tensor, Tensor]:
    """Return normals and the light of the environment; both are the same all over a face."""
    normals = flat_normals(seen.faces)
    light = _environment(scene, normals, seen.faces.scene)
    normals, light = rows_of(seen.slot, torch.cat((normals, light), dim=1)).split(3, dim=1)
    return normals, light


def _smooth(scene: Scene, seen: Fragments, weights: Tensor) -> tuple[Tensor, Tensor]:
    normals = smooth_normals(scene, seen, weights)
    return normals, _environment(scene, normals, seen.scene)


def _environment(scene: Scene, normals: Tensor, scene_of: Tensor) -> Tensor:
    # Normals are turned into the axes of the world, as harmonics are harder to turn.
    table = torch.cat((view_rotation(scene.camera).flatten(1), scene.environment.flatten(1)), dim=1)
    turn, coefficients = rows_of(scene_of, table).split([9, 27], dim=1)
    world = (turn.unflatten(1, (3, 3)) * normals[:, :, None]).sum(1)
    return environment_light(world, coefficients.unflatten(1, (9, 3)))


def _matters(value: Tensor) -> bool:
    """Tell whether it changes the image, or may have a gradient."""
    return value.requires_grad or bool(value.any())
