"""The images of a recipe: rendered, from a folder, or one of torchvision's data sets."""

from pathlib import Path
from typing import NamedTuple

from guard.errors import BadInput
from guard.progress import track
from guard.storage import write_json
from offline.datasets import (
    FolderImages,
    ImageSet,
    Subset,
    batches,
    split,
)
from offline.recipe import DataSettings
from offline.rendering.rendered_set import RenderedImages, RenderSettings, render_set
from offline.torchvision_sets import known_set, torchvision_set

__all__ = ["Data", "RenderedData", "check_images", "open_files", "open_rendered", "render"]

TEST_FOLDERS = ("test", "val")
CHECKED_AT_ONCE = 512


class Data(NamedTuple):
    """What a run works on.

    Attributes:
        train: what the model and its validators are fitted to.
        calibration: held out of the training images, for the threshold alone.
        test: for the evaluation alone.
    """

    train: Subset
    calibration: Subset
    test: ImageSet


class RenderedData(NamedTuple):
    """As `Data`, and `rendered`, all the images that `train` and `calibration` are parts of."""

    train: Subset
    calibration: Subset
    test: RenderedImages
    rendered: RenderedImages


def open_files(settings: DataSettings, path: Path, seed: int) -> Data:
    """Open an image folder or a torchvision data set.

    Raises:
        BadInput: there is neither, or an image or class is unusable.
    """
    if not path.is_dir():
        raise BadInput(f"{path}: no such folder")
    name = settings.torchvision or known_set(path)
    if name is not None:
        sets: list[ImageSet] = [
            torchvision_set(name, path, train=train, size=settings.size, download=settings.download)
            for train in (True, False)
        ]
    else:
        test = next((path / word for word in TEST_FOLDERS if (path / word).is_dir()), None)
        if test is None or not (path / "train").is_dir():
            raise BadInput(
                f"{path}: train/CLASS/IMAGE and test/CLASS/IMAGE are wanted, or `torchvision: NAME`"
            )
        sets = [
            FolderImages(folder, settings.size, settings.channels)
            for folder in (path / "train", test)
        ]
    if sets[0].classes != sets[1].classes:
        odd = sorted(set(sets[0].classes) ^ set(sets[1].classes))
        raise BadInput(f"{path}: train and test have different classes: {', '.join(odd[:5])}")
    if sets[0].shape != sets[1].shape:
        raise BadInput(f"{path}: train images are {sets[0].shape}, test images {sets[1].shape}")
    return Data(*split(sets[0], settings.calibration, seed), sets[1])


def check_images(folder: Path, data: Data) -> None:
    """Decode every image once, before hours of work build on them, and write how many there are.

    Raises:
        BadInput: an image does not decode, or has another size.
    """
    counts = {}
    for name, part in data._asdict().items():
        steps = -(-len(part) // CHECKED_AT_ONCE)
        for _ in track(batches(part, CHECKED_AT_ONCE), f"Checking {name} images", steps):
            pass
        by_class = part.labels.bincount(minlength=len(part.classes)).tolist()
        counts[name] = dict(zip(part.classes, by_class, strict=True))
    write_json(folder / "images.json", counts)


def render(folder: Path, settings: RenderSettings, seed: int) -> None:
    """Render both sets into `folder`."""
    for word, count, own_seed in _parts(settings, seed):
        (folder / word).mkdir()
        render_set(folder / word, count, settings, own_seed)


def open_rendered(
    folder: Path, settings: RenderSettings, calibration: float, seed: int
) -> RenderedData:
    """Open what `render` wrote."""
    train, test = (
        RenderedImages(folder / word, settings, own_seed)
        for word, _, own_seed in _parts(settings, seed)
    )
    return RenderedData(*split(train, calibration, seed), test, train)


def _parts(settings: RenderSettings, seed: int) -> list[tuple[str, int, int]]:
    return [("train", settings.train, 2 * seed), ("test", settings.test, 2 * seed + 1)]
