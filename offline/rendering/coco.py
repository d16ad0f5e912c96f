"""Ground truth as annotations in COCO's format, written while images are rendered."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from offline.rendering.ground_truth import Annotations

__all__ = ["CocoFile", "coco_file", "run_lengths"]


@contextmanager
def coco_file(path: Path, classes: tuple[str, ...]) -> "Iterator[CocoFile]":
    """Open a new file, which is whole when the block ends without an error."""
    with path.open("w", encoding="utf-8") as file:
        coco = CocoFile(file, classes)
        yield coco
        coco.end()


class CocoFile:
    """annotations.json while it is written: annotations go to the file at once."""

    def __init__(self, file: TextIO, classes: tuple[str, ...]) -> None:
        self._file, self._images, self._count = file, list[dict[str, Any]](), 0
        categories = [{"id": i + 1, "name": name} for i, name in enumerate(classes)]
        file.write(f'{{"categories": {json.dumps(categories)},\n"annotations": [')

    def add(self, number: int, name: str, truth: Annotations, i: int) -> None:
        """Write what is seen in image `i` of a batch, which is image `number` of all."""
        height, width = truth.instances.shape[1:]
        self._images.append(
            {"id": number, "file_name": name, "height": height, "width": width,
             "subject": int(truth.label[i]) + 1}
        )  # fmt: skip
        instances = truth.instances[i].cpu().numpy()
        segmentation = truth.segmentation[i].cpu().numpy()
        boxes, visible = truth.boxes[i].tolist(), truth.visible[i].tolist()
        for number_of, (x0, y0, x1, y1) in enumerate(boxes):
            mask = instances == number_of
            if not mask.any():
                continue
            self._count += 1
            written = {
                "id": self._count, "image_id": number, "object": number_of,
                "category_id": int(segmentation[mask][0]) + 1,
                "bbox": [x0, y0, x1 - x0, y1 - y0], "area": int(mask.sum()), "iscrowd": 0,
                "visible": round(visible[number_of], 4),
                "segmentation": {"size": [height, width], "counts": run_lengths(mask)},
            }  # fmt: skip
            self._file.write((",\n" if self._count > 1 else "\n") + json.dumps(written))

    def end(self) -> None:
        """Write the list of images."""
        self._file.write(f'],\n"images": {json.dumps(self._images)}}}\n')


def run_lengths(mask: Bool[ndarray, "height width"]) -> list[int]:
    """Return COCO's run lengths of a mask: by columns, the first run is of zeros."""
    flat = np.concatenate(([False], mask.reshape(-1, order="F"), [False]))
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    edges = np.concatenate(([0], changes, [mask.size]))
    runs: list[int] = np.diff(edges).tolist()
    return runs[:-1] if runs[-1] == 0 else runs
