"""Scenes that renderers are compared on: matt bumpy balls, one to a scene, in light without shadow.

The surface is Lambertian, one light is at infinity, the same light comes from all around, and the
background is plain: what all renderers agree on.
"""

import dataclasses
import math

import torch

from offline.rendering.composing import single
from offline.rendering.meshes.mesh import Mesh
from offline.rendering.procedural.parts import assemble, ball
from offline.rendering.scene import Scene

__all__ = ["GROUPS", "matt_scenes"]

GROUPS = ("pose", "translation", "scale", "vertices", "colour", "light", "camera")
"""The scene parameters whose gradients are compared, and are all asked for in timings."""


def matt_scenes(batch: int, faces: int, seed: int) -> Scene:
    """Draw scenes of about so many faces each, a fifth of an image covered and more."""
    generator = torch.Generator().manual_seed(seed)
    scene = single([_bumpy(faces, generator) for _ in range(batch)], background=(0.9, 0.9, 0.9))
    pose = 0.5 * torch.randn(batch, 1, 3, generator=generator)
    return scene.replace(pose=pose)


def _bumpy(faces: int, generator: torch.Generator) -> Mesh:
    segments = max(3, round(math.sqrt(faces / 2)))
    mesh = assemble("ball", [ball((0.8, 0.65, 0.55), (0.8, 0.5, 0.3), segments, segments)])
    waves = 4 * torch.randn(3, 3, generator=generator)
    phases = 6 * torch.rand(3, generator=generator)
    bumps = 1 + 0.05 * (mesh.vertices @ waves + phases).sin().sum(dim=1, keepdim=True)
    shades = 0.4 + 0.4 * (mesh.vertices @ waves.flip(0)).sin()[mesh.faces].mean(dim=1).abs()
    return dataclasses.replace(mesh, vertices=mesh.vertices * bumps, colours=shades)
