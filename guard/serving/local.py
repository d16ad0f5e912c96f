"""Verdicts without a server, by the same decoding, session and rules."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from guard.bundle import load_bundle
from guard.errors import BadInput
from guard.serving.config import Limits
from guard.serving.engine import Engine
from guard.serving.graph import read_graph
from guard.serving.images import Encoded, ImageSpec
from guard.serving.verdict import Verdict

__all__ = ["check_files"]


def check_files(
    bundle: Path,
    images: Iterable[Path],
    threshold: float | None = None,
    public_key: Path | None = None,
    precision: str = "float32",
) -> Iterator[tuple[Path, Verdict]]:
    """Yield each JPEG or PNG file with its verdict, in order, as soon as it is known.

    Args:
        bundle: the folder of a guard bundle.
        images: the files.
        threshold: of the joint discrepancy; None for the calibrated one.
        public_key: a PEM file, the key that must have signed the bundle; None for any or none.
        precision: which of the bundle's graphs.

    Raises:
        BadBundle: the bundle must not be loaded, or its graph does not run.
        BadInput: there is no graph of this precision, or a file cannot be read or does not decode.
    """
    opened = load_bundle(bundle, public_key)
    manifest = opened.manifest
    spec = ImageSpec.of(manifest, Limits().pixels)
    graph = read_graph(opened, precision)
    try:
        engine = Engine(graph)
    finally:
        graph.close()
    threshold = engine.threshold if threshold is None else threshold
    for path in images:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BadInput(f"{path}: cannot be read: {error.strerror}") from None
        image = Encoded(data, spec, str(path)).decode()
        judged = engine.run(image[np.newaxis], threshold)
        yield path, Verdict.of(judged, 0, manifest.class_names, manifest.layer_names)
