"""The renderers by name: which of them this machine can run, and what is missing for the others."""

import importlib

from guard.errors import CornerguardError
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.renderer import Renderer

__all__ = ["RENDERERS", "engines", "make_renderer"]

_OPTIONAL = {"mitsuba": "Mitsuba", "redner": "Redner"}
RENDERERS = ("rasterizer", *_OPTIONAL)


def engines() -> dict[str, str | None]:
    """Return the renderers by name with what is missing and what to do; None: ready."""
    states = {name: importlib.import_module(_module(name)).missing() for name in _OPTIONAL}
    return {"rasterizer": None, **states}


def make_renderer(
    name: str, size: tuple[int, int], samples: int, shadows: bool = False
) -> Renderer:
    """Return one of `RENDERERS` for images of height and width; the rasterizer alone has shadows.

    Raises:
        CornerguardError: it, or what it needs on the CPU, is not installed.
    """
    if name == "rasterizer":
        return Rasterizer(*size, samples, shadows)
    module = importlib.import_module(_module(name))
    lacking = module.missing()
    if lacking:
        raise CornerguardError(f"renderer {name}: {lacking}")
    made: Renderer = getattr(module, _OPTIONAL[name])(*size, samples=samples)
    return made


def _module(name: str) -> str:
    return f"offline.rendering.{name}"
