"""A scene of everything there is: two objects, pictures, lamps, smooth and flat faces, fog."""

import dataclasses

import torch
from torch import Tensor

from offline.rendering.composing import compose
from offline.rendering.procedural.parts import assemble, ball, box, cylinder
from offline.rendering.scene import Scene

__all__ = ["rich_scene"]

RED, GREEN, BLUE, GREY = (0.8, 0.3, 0.2), (0.3, 0.7, 0.3), (0.2, 0.4, 0.9), (0.9, 0.9, 0.9)


def rich_scene(seed: int) -> Scene:
    """Return one scene in float32, nowhere so bright that its image is clamped."""
    generator = torch.Generator().manual_seed(seed)
    subject = assemble(
        "solid",
        [
            box((1.2, 0.5, 0.6), (0, 0, 0), RED),
            cylinder(0.2, 0.2, 2, BLUE, 8).moved(-0.2, -0.2, 0.5),
        ],
    )
    globe = assemble("globe", [ball((0.45, 0.45, 0.4), GREEN, 6, 9)])
    wall = assemble("wall", [box((1.6, 1.2, 0.1), (0, 0, 0), GREY)])
    scene = compose([[subject, globe, wall]])
    painted, smooth = len(subject.faces), len(subject.faces) + len(globe.faces)

    tile = torch.arange(painted) % 3 - 1
    smoothing = torch.where(
        torch.arange(smooth)[:, None] < painted, -1, scene.faces[0, :smooth]
    )  # one group for each vertex of the globe
    smoothing[painted, 0] = -1
    coarse = torch.rand(1, 3, 5, 8, generator=generator)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    scene = dataclasses.replace(
        scene,
        smoothing=smoothing[None],
        uv=0.2 + 2 * torch.rand(1, painted, 3, 2, generator=generator),
        tile=tile[None],
        tiles=torch.tensor([[[0, 0, 4, 4], [1, 4, 4, 3]]]),
        texture=0.3 + 0.6 * coarse,
        lamps=torch.tensor([[[0.9, 0.8, 1.2, 0.3, 0.2, 0.1], [-1.2, 0.5, 0.8, 0.1, 0.2, 0.3]]]),
    )
    return scene.replace(
        pose=0.5 * noise(1, 3, 3),
        scale=torch.tensor([[0.8, 0.4, 0.9]]),
        translation=torch.tensor([[[0.0, 0, 0], [0.3, 0.3, 0.2], [0, -0.1, -0.5]]]),
        light=torch.tensor([[0.4, 1.0, 0.6, 0.3, 0.25, 0.2]]),
        environment=torch.cat((torch.full((1, 1, 3), 1.0), 0.15 * noise(1, 8, 3)), dim=1),
        background=0.2 + 0.6 * torch.rand(1, 3, 1, 1, generator=generator),
        fog=torch.tensor([[0.1, 0.5, 0.6, 0.7]]),
        camera=torch.tensor([[3.3, 0.5, 0.35, 0.7, 0.1, 0.05, -0.05, 0.1]]),
    ).with_gloss(torch.tensor([[0.3, 0.4, 0.0]]))
