"""The default renderer: a z-buffer, shading, and borders by analytic coverage."""

from offline.rendering.rasterizer.rasterizer import Rasterizer

__all__ = ["Rasterizer"]
