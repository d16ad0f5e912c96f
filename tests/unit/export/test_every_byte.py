"""Every change of one byte in any file of a bundle is caught, and so is any other length.

Small files are changed at each of their bytes; large ones, and what the signature covers as the
sums do, at places drawn from equal parts.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from export.signature import sign_bundle
from guard.bundle import load_bundle, seal_bundle
from guard.errors import BadBundle
from tests.unit.export.signing_keys import write_keys
from tests.unit.serving.tiny_bundle import write_bundle

SMALL = 4096
PARTS = 100
FILES = ("guard.json", "model.onnx", "report/index.html", "report/picture.png")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of small files and a large one, signed."""
    folder = write_bundle(tmp_path_factory.mktemp("bytes") / "bundle")
    manifest = load_bundle(folder).manifest
    (folder / "report").mkdir()
    (folder / "report" / "index.html").write_text("<p>figures</p>\n")
    picture = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8)
    (folder / "report" / "picture.png").write_bytes(picture.tobytes())
    seal_bundle(folder, manifest)
    sign_bundle(folder, write_keys(folder.parent / "keys").private)
    return folder


@pytest.fixture(scope="module")
def key(bundle: Path) -> Path:
    return bundle.parent / "keys" / "public.pem"


def places(length: int, small: int, draw: np.random.Generator) -> Iterator[int]:
    if length <= max(small, PARTS):
        yield from range(length)
        return
    edges = np.linspace(0, length, PARTS + 1).astype(int)
    yield from (0, length - 1)
    for low, high in pairwise(edges):
        yield int(draw.integers(low, high))


def changes(whole: bytes, small: int, draw: np.random.Generator) -> Iterator[bytes]:
    """One byte made another, one or more lost or added at either end or within."""
    for at in places(len(whole), small, draw):
        other = whole[at] ^ int(draw.integers(1, 256))
        yield whole[:at] + bytes([other]) + whole[at + 1 :]
    middle = len(whole) // 2
    for added in (b"\0", b" ", b"\n", b"\r\n", b"}"):
        yield whole + added
        yield added + whole
        yield whole[:middle] + added + whole[middle:]
    for kept in (0, 1, middle, len(whole) - 1):
        yield whole[:kept]
    yield whole[1:]
    yield whole[:middle] + whole[middle + 1 :]
    yield whole + whole


def require_caught(bundle: Path, name: str, key: Path | None, small: int = SMALL) -> None:
    path = bundle / name
    whole = path.read_bytes()
    draw, count = np.random.default_rng(len(whole)), 0
    try:
        for changed in changes(whole, small, draw):
            assert changed != whole
            path.write_bytes(changed)
            with pytest.raises(BadBundle) as caught:
                load_bundle(bundle, key)
            assert path.name in str(caught.value)
            count += 1
    finally:
        path.write_bytes(whole)
    assert count > min(len(whole), PARTS)
    load_bundle(bundle, key)


@pytest.mark.parametrize("name", FILES)
def test_without_a_key(bundle: Path, name: str) -> None:
    require_caught(bundle, name, None)


@pytest.mark.parametrize("name", [*FILES, "model.sig"])
def test_with_a_key(bundle: Path, key: Path, name: str) -> None:
    require_caught(bundle, name, key, SMALL if name == "model.sig" else 0)


def test_every_bit_of_the_signatures_last_characters(bundle: Path, key: Path) -> None:
    """Base64 has spare bits there, which decode to the same signature."""
    path = bundle / "model.sig"
    whole = path.read_bytes()
    ends = [at for at in range(1, len(whole)) if whole[at : at + 1] in (b"=", b'"')]
    try:
        for at in ends:
            for bit in range(8):
                changed = bytearray(whole)
                changed[at - 1] ^= 1 << bit
                path.write_bytes(changed)
                with pytest.raises(BadBundle, match=r"model\.sig"):
                    load_bundle(bundle, key)
    finally:
        path.write_bytes(whole)
