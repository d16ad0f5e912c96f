"""The renderers that are installed, by name, and what is said of those that are not."""

from collections.abc import Callable
from functools import partial
from importlib import import_module

import torch

from guard.errors import CornerguardError
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.renderer import Renderer
from offline.rendering.scene import Scene
from tests.benchmarks.rendered_scenes import GROUPS

__all__ = ["Make", "installed", "step"]

Make = Callable[[int, int], Renderer]
"""Makes a renderer of images of a height and width."""


def installed(rays: int, scene: Scene) -> tuple[dict[str, Make], dict[str, str]]:
    """Return the renderers that render `scene`, and why the others do not, in one line each.

    Args:
        rays: of redner and Mitsuba, along each side of a pixel.
        scene: any small one, to try them on.
    """
    makes: dict[str, Make] = {"rasterizer": Rasterizer}
    absent = {}
    for name in ("redner", "mitsuba"):
        try:
            kind = getattr(import_module(f"offline.rendering.{name}"), name.capitalize())
            kind(16, 16, samples=rays).render(scene)
        except (CornerguardError, ImportError, AttributeError) as error:
            absent[name] = f"not installed: {error}".splitlines()[0]
        else:
            makes[name] = partial(kind, samples=rays)
    return makes, absent


def step(
    renderer: Renderer, scene: Scene, functional: torch.Tensor, groups: tuple[str, ...] = GROUPS
) -> dict[str, torch.Tensor]:
    """Render forward and backward; return the gradients of Σ image · functional by group."""
    theta = {name: scene.parameters()[name].clone().requires_grad_() for name in groups}
    image = renderer.render(scene.replace(**theta))
    found = torch.autograd.grad((image * functional).sum(), list(theta.values()))
    return dict(zip(groups, found, strict=True))
