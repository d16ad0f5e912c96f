"""Images arrive in order, with their labels, and every unusable one is named."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from guard.errors import BadInput
from offline.datasets import ArrayImages, FolderImages, Subset, batches, split
from offline.torchvision_sets import torchvision_set


def _array(count: int = 10, classes: int = 2) -> ArrayImages:
    pixels = torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1).expand(count, 1, 4, 4)
    names = tuple(f"c{index}" for index in range(classes))
    return ArrayImages(pixels, torch.arange(count) % classes, names)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for index in range(3):
            Image.new("RGB", (6, 4), (label * 100, index, 7)).save(tmp_path / name / f"{index}.png")
    return tmp_path


def test_batches_yield_each_image_once_with_its_label() -> None:
    image_set = _array(10)
    seen = list(batches(image_set, 4))
    assert [len(labels) for _, labels in seen] == [4, 4, 2]
    values = torch.cat([images[:, 0, 0, 0] for images, _ in seen]) * 255
    assert values.round().tolist() == list(range(10))
    shuffled = list(batches(image_set, 4, torch.Generator().manual_seed(1)))
    values = (torch.cat([images[:, 0, 0, 0] for images, _ in shuffled]) * 255).round().long()
    assert values.tolist() != list(range(10))
    assert sorted(values.tolist()) == list(range(10))
    assert torch.equal(torch.cat([labels for _, labels in shuffled]), values % 2)


def test_split_parts_at_random_and_the_same_way_each_time() -> None:
    image_set = _array(100)
    rest, held = split(image_set, 0.1, seed=3)
    assert (len(rest), len(held)) == (90, 10)
    assert sorted(torch.cat([rest.indices, held.indices]).tolist()) == list(range(100))
    assert torch.equal(split(image_set, 0.1, seed=3)[1].indices, held.indices)


def test_fingerprints_tell_sets_apart() -> None:
    image_set = _array()
    again, other = _array(), _array()
    other.pixels = other.pixels.clone()
    other.pixels[3, 0, 0, 0] = 99
    subset = Subset(image_set, torch.tensor([0, 1]))
    prints = [each.fingerprint() for each in (image_set, again, other, subset)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_a_folder_is_read_as_rgb_in_class_order(folder: Path) -> None:
    images = FolderImages(folder)
    assert images.classes == ("cat", "dog")
    assert images.shape == (3, 4, 6)
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert (images.fetch(torch.tensor([5]))[0, :, 0, 0] * 255).round().tolist() == [100, 2, 7]
    assert FolderImages(folder, size=(8, 8), channels=1).fetch(torch.tensor([0])).shape == (
        1,
        1,
        8,
        8,
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "bird").mkdir(), "the class 'bird' has no image"),
        (lambda root: (root / "cat" / "0.png").write_bytes(b"junk"), r"0\.png: does not decode"),
        (
            lambda root: (root / "dog" / "1.png").write_bytes(
                (root / "dog" / "1.png").read_bytes()[:45]
            ),
            r"1\.png: does not decode",
        ),
        (lambda root: Image.new("RGB", (9, 9)).save(root / "dog" / "2.png"), r"2\.png: is 9x9"),
    ],
)
def test_an_unusable_folder_is_named(folder: Path, spoil, message: str) -> None:
    spoil(folder)
    with pytest.raises(BadInput, match=message):
        FolderImages(folder).fetch(torch.arange(6))


def test_no_folder_and_a_class_without_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no class folders"):
        FolderImages(tmp_path / "none")
    with pytest.raises(BadInput, match="'b' has no image"):
        ArrayImages(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.zeros(2).long(), ("a", "b"))


def test_torchvision_sets_open_packed_or_not_and_mistakes_are_named(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.arange(20 * 28 * 28, dtype=np.uint64).astype(np.uint8).reshape(20, 28, 28)
    for word in ("train", "t10k"):
        header = np.array([0x803, 20, 28, 28], dtype=">i4").tobytes()
        packed = gzip.compress(header + images.tobytes())
        (raw / f"{word}-images-idx3-ubyte.gz").write_bytes(packed)
        labels = np.array([0x801, 20], dtype=">i4").tobytes() + bytes(i % 10 for i in range(20))
        (raw / f"{word}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    opened = torchvision_set("MNIST", tmp_path, train=True)
    assert opened.shape == (1, 28, 28)
    assert np.array_equal(opened.pixels[:, 0].numpy(), images)
    assert opened.labels.tolist() == [index % 10 for index in range(20)]
    with pytest.raises(BadInput, match="did you mean 'MNIST'"):
        torchvision_set("MNITS", tmp_path, train=True)
    with pytest.raises(BadInput, match="CIFAR10 is not there"):
        torchvision_set("CIFAR10", tmp_path, train=True)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(b"junk")
    with pytest.raises(BadInput, match="cannot be unpacked"):
        torchvision_set("MNIST", tmp_path, train=True)


def test_a_torchvision_set_of_files_is_decoded_once(tmp_path: Path) -> None:
    for index in range(4):
        file = tmp_path / "gtsrb" / "GTSRB" / "Training" / f"{index % 2:05d}" / f"{index}.ppm"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (10 + index, 8), (index, 2 * index, 7)).save(file)
    opened = torchvision_set("GTSRB", tmp_path, train=True, size=(6, 5))
    assert opened.shape == (3, 6, 5)
    assert opened.labels.tolist() == [0, 0, 1, 1]
    assert opened.pixels[:, 1, 0, 0].tolist() == [0, 4, 2, 6]
    with pytest.raises(BadInput, match="many sizes: name a `size`"):
        torchvision_set("GTSRB", tmp_path, train=True)
    with pytest.raises(BadInput, match="Caltech101 has no test part"):
        torchvision_set("Caltech101", tmp_path, train=True)
