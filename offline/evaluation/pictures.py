"""The PNG files that lie beside a report, and what its page must know of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from PIL import Image

from offline.evaluation.image_arrays import Picture, as_pixels, side_by_side
from offline.evaluation.plots import DARK, HEIGHT, LIGHT, WIDTH, Theme, draw

__all__ = ["Chart", "PictureFolder", "Strip", "Thumbnail"]

WIDEST = 480


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


@dataclass(frozen=True)
class Strip:
    """Images of one size in one file, side by side; what each shows, and the size of one."""

    file: str
    alts: tuple[str, ...]
    width: int
    height: int


class PictureFolder:
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
        Image.fromarray(as_pixels(picture)).save(self.folder / file)
        return Thumbnail(file, alt, *_shown(*picture.shape[1:]))

    def strip(self, pictures: Sequence[Picture], alts: Sequence[str]) -> Strip:
        """Write images in [0, 1] as one file, a third of the files, and fewer bytes."""
        file = self._next("strip") + ".png"
        row = side_by_side(pictures, WIDEST)
        row.save(self.folder / file)
        width, height = row.width // len(pictures), row.height
        factor = max(1, round(112 / width))
        return Strip(file, tuple(alts), width * factor, height * factor)

    def _next(self, kind: str) -> str:
        self.count += 1
        return f"{kind}-{self.count:03d}"


def _shown(height: int, width: int) -> tuple[int, int]:
    """Return the width and the height that a thumbnail is shown with."""
    factor = max(1, round(112 / width)) if width <= 160 else 160 / width
    return round(width * factor), round(height * factor)
