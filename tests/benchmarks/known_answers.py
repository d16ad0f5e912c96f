"""Images whose answers are known: a direct ONNX Runtime run gave them, one image at a time."""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from guard.bundle import load_bundle
from tests.benchmarks.direct_loop import session
from tests.benchmarks.served_models import ServedModel

__all__ = ["Known", "known_answers"]

CLOSE = 1e-3
"""Batches round otherwise than single images do; a score this near the threshold may fall either
side of it."""


class Known(NamedTuple):
    """One image in two writings, and its answer."""

    raw: bytes
    shape: tuple[int, ...]
    png: bytes
    label: int
    score: float
    verdict: str

    def agrees(self, label: int, score: float, verdict: str) -> bool:
        """Whether this is the answer, but for rounding."""
        near = abs(score - self.score) <= CLOSE * max(1, abs(self.score))
        return (label, verdict) == (self.label, self.verdict) and near


def known_answers(model: ServedModel) -> list[Known]:
    """Return those of a model's images whose verdict does not hang on rounding."""
    threshold = load_bundle(model.bundle).manifest.threshold
    run = session(model.graph, 1).run
    found = []
    for image in np.load(model.images):
        label, score, valid = run(["label", "score", "valid"], {"images": image[np.newaxis]})
        if abs(score[0] - threshold) > 2 * CLOSE * max(1, abs(threshold)):
            verdict = "VALID" if valid[0] else "CORNER_CASE"
            answer = int(label[0]), float(score[0]), verdict
            found.append(Known(image.tobytes(), image.shape, _png(image), *answer))
    return found


def _png(image: np.ndarray) -> bytes:
    pixels = (image.transpose(1, 2, 0) * 255).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
