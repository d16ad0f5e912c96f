"""The renderers by name: which of them this machine can run, and what is missing for the others."""

import importlib
from typing import Literal

from pydantic import Field

from guard.errors import CornerguardError
from guard.settings import Settings
from offline.rendering.rasterizer import Rasterizer
from offline.rendering.renderer import Renderer

__all__ = ["RENDERERS", "EngineSettings", "engines", "make_renderer"]

_OPTIONAL = {"mitsuba": "Mitsuba", "redner": "Redner"}
RENDERERS = ("rasterizer", *_OPTIONAL)


class EngineSettings(Settings):
    """What makes an image of a scene: a renderer, its size in pixels, its samples.

    Attributes:
        name: one of `RENDERERS`.
        height, width: in pixels.
        samples: sub-pixels along each side of a pixel.
        shadows: of the rasterizer alone.
    """

    name: Literal["rasterizer", "mitsuba", "redner"] = "rasterizer"
    height: int = Field(ge=1, le=8192)
    width: int = Field(ge=1, le=8192)
    samples: int = Field(1, ge=1, le=64)
    shadows: bool = False

    def renderer(self) -> Renderer:
        """Return the renderer.

        Raises:
            CornerguardError: it is not installed.
        """
        return make_renderer(self.name, (self.height, self.width), self.samples, self.shadows)


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
