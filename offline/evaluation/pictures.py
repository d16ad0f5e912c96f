"""The PNG files that lie beside a report, and what its page must know of each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from PIL import Image

from offline.evaluation.plots import DARK, HEIGHT, LIGHT, WIDTH, Theme, draw
from offline.evaluation.report_data import Picture

__all__ = ["Chart", "Gallery", "Thumbnail"]


@dataclass(frozen=True)
class Chart:
    """A chart in two files, for light and for dark screens; sizes in CSS pixels."""

    light: str
    dark: str
    alt: str
    caption: str
    width: int = WIDTH
    height: int = HEIGHT


@dataclass(frozen=True)
class Thumbnail:
    """An image file, and how large it is shown: small images by whole multiples."""

    file: str
    alt: str
    width: int
    height: int


class Gallery:
    """Writes pictures into one folder under numbered names, whatever their subject is called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    def chart(self, fill: Callable[[Axes, Theme], None], *, alt: str, caption: str) -> Chart:
        """Draw a chart in both themes."""
        stem = self._next("chart")
        for theme in (LIGHT, DARK):
            figure = draw(fill, theme)
            figure.savefig(self.folder / f"{stem}-{theme.name}.png", facecolor=theme.paper)
        return Chart(f"{stem}-light.png", f"{stem}-dark.png", alt, caption)

    def thumbnail(self, picture: Picture, alt: str) -> Thumbnail:
        """Write an image in [0, 1]."""
        file = self._next("image") + ".png"
        _png(picture).save(self.folder / file)
        height, width = picture.shape[1:]
        factor = max(1, round(112 / width)) if width <= 160 else 160 / width
        return Thumbnail(file, alt, round(width * factor), round(height * factor))

    def difference(self, before: Picture, after: Picture, alt: str) -> tuple[Thumbnail, float]:
        """Write `after` - `before`, with mid-grey for no change; return the largest change too.

        The difference is stretched so that the largest change becomes black or white.
        """
        change = after - before
        largest = float(np.abs(change).max())
        shown = 0.5 + change / (2 * largest) if largest else np.full_like(change, 0.5)
        return self.thumbnail(shown.astype(np.float32), alt), largest

    def _next(self, kind: str) -> str:
        self.count += 1
        return f"{kind}-{self.count:03d}"


def _png(picture: Float[np.ndarray, "c h w"]) -> Image.Image:
    pixels = np.round(picture.clip(0, 1) * 255).astype(np.uint8)
    pixels = pixels.transpose(1, 2, 0)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))
