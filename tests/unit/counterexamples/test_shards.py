"""Counterexamples in shards: the same bytes whoever writes them, rendered again bit for bit."""

import dataclasses
import hashlib
import io
import re
import shutil
import tarfile

import pytest
import torch
from PIL import Image
from safetensors.torch import save
from webdataset import tariterators
from webdataset.autodecode import Decoder, imagehandler

from guard.errors import BadInput
from offline.counterexamples import (
    Counterexamples,
    find_counterexamples,
    load_shards,
    read_shards,
    write_shards,
)
from offline.counterexamples.shards.kept_shards import keep_sum
from offline.counterexamples.shards.manifest import read_manifest
from offline.counterexamples.shards.sample import PARTS
from offline.counterexamples.shards.shard_files import read_shard
from offline.rendering.alone import images_alone
from offline.rendering.scene import concatenate
from tests.unit.counterexamples.shard_samples import (
    COUNT,
    ENGINE,
    PLACES,
    SETTINGS,
    contents,
    drawn,
    network,
    subjects,
    written,
)

NINE = save({"pose": torch.zeros(1, 9, 3)})


def png(size):
    file = io.BytesIO()
    Image.new("RGB", (size, size)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("found") / "shards"
    written(folder)
    return folder


def test_shards_hold_what_the_search_finds(folder):
    places, labels, *_ = subjects()
    parts = [
        find_counterexamples(
            ENGINE.renderer(), network(), drawn(places[rows]), labels[rows], SETTINGS.attack_alone
        )
        for rows in torch.arange(COUNT).split(SETTINGS.shard)
    ]
    again = load_shards(folder)
    assert len(again) == COUNT
    assert again.success.any()
    for field in dataclasses.fields(Counterexamples):
        whole = [getattr(part, field.name) for part in parts]
        if field.name in ("before", "after"):
            scenes = concatenate(whole)
            for index in range(COUNT):
                one, two = (
                    images_alone(ENGINE.renderer(), each[index])
                    for each in (scenes, getattr(again, field.name))
                )
                assert torch.equal(one, two)
        elif field.name.startswith("images"):
            far = (torch.cat(whole).int() - getattr(again, field.name).int()).abs()
            assert far.max() <= 1  # rounded from images of a batch
        else:
            assert torch.allclose(
                torch.cat(whole).float(), getattr(again, field.name).float(), atol=1e-3
            ), field.name


def test_a_sample_is_rendered_again_bit_for_bit_from_its_shard_alone(folder, tmp_path):
    (tmp_path / "alone.tar").write_bytes((folder / "00000003.tar").read_bytes())
    kept = list(read_shard(tmp_path / "alone.tar"))
    assert [sample.facts.index for sample in kept] == [3, 4, 5]
    for sample in kept:
        again = sample.rendered_again()
        assert torch.equal(again[0], sample.image_before)
        assert torch.equal(again[1], sample.image_after)
    # Nor does it matter what they are beside, whose padding they then have.
    for rows in ([2], [0, 2], [2, 1, 0]):
        batch = concatenate([kept[row].after for row in rows])
        images = images_alone(ENGINE.renderer(), batch)
        assert torch.equal(images, torch.stack([kept[row].image_after for row in rows])), rows


def test_the_model_says_of_the_stored_images_what_is_stored(folder):
    kept = list(read_shards(folder))
    with torch.no_grad():
        said = network()(torch.stack([sample.image_after for sample in kept]).float() / 255)
    assert said.argmax(dim=1).tolist() == [sample.facts.predicted_after for sample in kept]
    for sample in kept:
        wrong = sample.facts.predicted_after != sample.facts.label
        assert sample.facts.success == (
            wrong and sample.facts.predicted_before == sample.facts.label
        )


@pytest.mark.parametrize("jobs", [2, -1])
def test_how_many_are_at_work_does_not_tell_in_the_bytes(folder, tmp_path, jobs):
    before = torch.get_num_threads()
    assert written(tmp_path, jobs=jobs) == contents(folder)
    assert torch.get_num_threads() == before


def test_the_tar_is_of_nobody_and_webdataset_reads_it(folder):
    path = folder / "00000000.tar"
    with tarfile.open(path) as tar:
        members = tar.getmembers()
    assert {(each.mtime, each.uid, each.gid, each.uname, each.mode) for each in members} == {
        (0, 0, 0, "", 0o644)
    }
    with path.open("rb") as file:
        files = tariterators.tar_file_expander([{"url": path.name, "stream": file}])
        samples = list(map(Decoder([imagehandler("rgb8")]), tariterators.group_by_keys(files)))
    assert [sample["__key__"] for sample in samples] == ["00000000", "00000001", "00000002"]
    for sample, ours in zip(samples, read_shard(path), strict=True):
        assert sample["json"]["label"] == ours.facts.label
        assert (sample["after.png"] == ours.image_after.permute(1, 2, 0).numpy()).all()
        assert set(sample) >= {"before.png", "scene.safetensors", "theta.safetensors"}


def test_the_manifest_says_what_is_there(folder):
    manifest = read_manifest(folder)
    found = load_shards(folder)
    assert manifest.scenes == COUNT
    assert manifest.found == found.success.sum()
    assert [shard.scenes for shard in manifest.shards] == [3, 3, 2]
    assert manifest.origin.attack == SETTINGS.attack_alone
    sums = [
        hashlib.sha256((folder / shard.name).read_bytes()).hexdigest() for shard in manifest.shards
    ]
    assert sums == [shard.sha256 for shard in manifest.shards]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda to: (to / "00000003.tar").unlink(), "00000003.tar: cannot be read: No such file"),
        (lambda to: flip(to / "00000003.tar"), "00000003.tar: is damaged: its SHA-256"),
        (lambda to: (to / "manifest.json").unlink(), "manifest.json: cannot be read: No such file"),
        (
            lambda to: (to / "manifest.json").write_text("{}"),
            "manifest.json: origin: Field required",
        ),
        (lambda to: rename(to, "../../etc/x.tar"), "manifest.json: shards.1.name: String should"),
        (lambda to: rename(to, "00000000.tar"), "00000000.tar: is damaged: its SHA-256"),
    ],
)
def test_a_damaged_folder_is_one_clear_line(folder, tmp_path, damage, message):
    shutil.copytree(folder, tmp_path / "copy")
    damage(tmp_path / "copy")
    with pytest.raises(BadInput, match=re.escape(message)) as raised:
        load_shards(tmp_path / "copy")
    assert "\n" not in str(raised.value)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def rename(folder, name):
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace("00000003.tar", name))


@pytest.mark.parametrize(
    ("part", "name", "content", "message"),
    [
        ("before.png", "../../evil.png", None, r"'../../evil.png' is no file of a sample"),
        ("json", "00000009.json", None, r"'00000009.json' is where '00000000.json' is wanted"),
        ("theta.safetensors", None, None, r"'00000001.before.png' is where '00000000.theta.safe"),
        ("json", "00000000.json", b"{}", r"00000000.json: index: Field required"),
        ("after.png", "00000000.after.png", b"GIF89a", r"00000000.after.png: is no PNG image"),
        ("after.png", "00000000.after.png", png(64), r"is 64 x 64 RGB; 32 x 32 RGB is wanted"),
        ("scene.safetensors", "00000000.scene.safetensors", b"\xff" * 99, r"scene.*: is damaged"),
        ("theta.safetensors", "00000000.theta.safetensors", NINE, r"is of the wrong kind or size"),
    ],
)
def test_an_altered_sample_is_one_clear_line(folder, tmp_path, part, name, content, message):
    altered = tmp_path / "altered.tar"
    with tarfile.open(folder / "00000000.tar") as source, tarfile.open(altered, "w") as target:
        for member in source:
            data = source.extractfile(member).read()
            if member.name == f"00000000.{part}":
                if name is None:
                    continue
                member.name, data = name, content or data
            member.size = len(data)
            target.addfile(member, io.BytesIO(data))
    with pytest.raises(BadInput, match=message) as raised:
        list(read_shard(altered))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_pipes_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "links.tar", "w") as tar:
        for part in PARTS:
            member = tarfile.TarInfo(f"00000000.{part}")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    with pytest.raises(BadInput, match=r"'00000000.before.png' is not a plain file"):
        list(read_shard(tmp_path / "links.tar"))


def test_a_shard_that_ends_too_early_is_refused(folder, tmp_path):
    whole = (folder / "00000000.tar").read_bytes()
    for length in (0, 100, 3000, len(whole) // 2):
        (tmp_path / "short.tar").write_bytes(whole[:length])
        with pytest.raises(BadInput, match=r"short\.tar"):
            list(read_shard(tmp_path / "short.tar"))


def test_an_interrupted_search_keeps_what_is_whole_and_of_its_kind(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    copy = tmp_path / "copy"
    for shard in read_manifest(copy).shards:
        keep_sum(copy, shard)
    (copy / "manifest.json").unlink()
    flip(copy / "00000006.tar")
    (copy / ".00000003.tar.1.partial").write_bytes(b"half")
    (copy / "00000003.tar").unlink()
    kept = (copy / "00000000.tar").stat().st_mtime_ns
    assert written(copy) == contents(folder)
    assert (copy / "00000000.tar").stat().st_mtime_ns == kept
    # Of another attack, or cut otherwise, nothing is kept.
    assert len(written(copy, shard=5)) == 3
    assert load_shards(copy).renders.max() == 4
    written(copy, shard=5, iterations=1)
    assert load_shards(copy).renders.max() == 2


def test_a_node_that_does_not_see_the_folder_says_so(tmp_path):
    def elsewhere(places):
        (tmp_path / "shards").rmdir()  # as on a node that does not share the disk
        return drawn(places)

    with pytest.raises(BadInput, match=r"shards: is not there on the node .*must share the disk"):
        write_shards(
            tmp_path / "shards", network(), subjects()._replace(scenes=elsewhere), SETTINGS
        )
    nobody = subjects()._replace(places=PLACES[:0], labels=PLACES[:0])
    with pytest.raises(BadInput, match="no scenes to attack"):
        write_shards(tmp_path / "shards", network(), nobody, SETTINGS)
