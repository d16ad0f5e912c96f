"""What the server and a worker share: slots, messages, and the graph that was verified."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from guard.bundle import load_bundle
from guard.errors import BadBundle, BadInput
from guard.serving.graph import read_graph
from guard.serving.messages import TEXT, Answer, Run, Told
from guard.serving.order import Order
from guard.serving.shared import Layout, Slot, anonymous_file
from tests.unit.serving.tiny_bundle import write_bundle

LAYOUT = Layout(classes=10, layers=3, images=8)


@pytest.fixture
def ends() -> tuple[Slot, Slot]:
    """The same slot as two processes see it."""
    file = anonymous_file()
    return Slot(file, LAYOUT, 1 << 20), Slot(os.dup(file), LAYOUT, 0)


def test_what_one_end_writes_the_other_reads(ends: tuple[Slot, Slot]) -> None:
    ours, theirs = ends
    shape = (5, 3, 4, 6)
    ours.reserve(shape)
    sent = np.random.default_rng(0).random(shape, np.float32)
    ours.images(shape)[...] = sent
    assert theirs.follow(ours.size)
    np.testing.assert_array_equal(theirs.images(shape), sent)
    draw = np.random.default_rng(1)
    outputs = theirs.outputs(5)
    for value in outputs.values():
        value[...] = draw.integers(0, 2, value.shape)
    wanted = {name: value.copy() for name, value in outputs.items()}
    judged = ours.judged(5, 0.25, 0.5)
    for name, value in wanted.items():
        seen = judged.verdict if name == "verdict" else getattr(judged.outputs, name)
        np.testing.assert_array_equal(seen, value)
        assert seen.dtype == value.dtype
        value_now = outputs[name]
        value_now[...] = 7  # the next batch
        np.testing.assert_array_equal(seen, value)
    np.testing.assert_array_equal(theirs.images(shape), sent)  # which no output lies over
    assert (judged.threshold, judged.seconds) == (0.25, 0.5)


def test_a_slot_grows_for_one_batch_and_shrinks_after_it(ends: tuple[Slot, Slot]) -> None:
    ours, theirs = ends
    ours.reserve((1, 3, 8, 8))
    usual = ours.size
    ours.reserve((8, 3, 8, 8))
    assert ours.size == usual
    large = (1, 3, 1024, 1024)
    ours.reserve(large)
    assert ours.size == os.fstat(ours.file).st_size == LAYOUT.head + 12 * 1024**2
    assert theirs.follow(ours.size)
    assert not theirs.follow(ours.size)
    ours.images(large)[...] = 0.5
    assert (theirs.images(large) == 0.5).all()
    ours.reserve((1, 3, 8, 8))
    assert ours.size == os.fstat(ours.file).st_size == usual


def test_reserved_memory_is_not_used_until_it_is_written() -> None:
    slot = Slot(anonymous_file(), LAYOUT, 1 << 30)
    slot.reserve((1, 1, 1, 1))
    slot.images((1, 1, 1, 1))[...] = 1
    assert os.fstat(slot.file).st_blocks * 512 < 1 << 20
    slot.close()


def test_messages_come_back_as_they_went() -> None:
    run = Run(1, 1 << 33, 32, 3, 224, 225, 0.5, 1234.5)
    assert Run.unpack(run.pack()) == run
    for answer in (Answer(Told.READY, text="cuda"), Answer(Told.DONE, 1, 0.25)):
        assert Answer.unpack(answer.pack()) == answer
    long = Answer(Told.FAILED, 0, 0.5, "é" * TEXT)
    assert Answer.unpack(long.pack()).text == "é" * (TEXT // 2)


def test_an_order_comes_back_as_it_went(tmp_path: Path) -> None:
    graph = read_graph(load_bundle(write_bundle(tmp_path / "tiny")))
    order = Order(5, (6, 7), graph, 32, 2, "auto", False, "info")
    assert Order.parse(order.write()) == order
    assert order.files == (5, 6, 7, graph.files["model.onnx"])
    json.loads(order.write())
    graph.close()


def test_the_graph_in_memory_is_the_one_that_was_verified(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "tiny", height=12, width=16)
    bundle = load_bundle(folder)
    original = (folder / "model.onnx").read_bytes()
    graph = read_graph(bundle)
    assert (graph.classes, graph.layers, graph.image) == (3, 2, (3, 12, 16))
    altered = bytearray(original)
    altered[len(altered) // 2] ^= 1
    (folder / "model.onnx").write_bytes(altered)
    assert graph.contents()["model.onnx"][:] == original
    with pytest.raises(BadBundle, match=r"model\.onnx: is altered"):
        read_graph(bundle)
    (folder / "model.onnx").unlink()
    with pytest.raises(BadBundle, match=r"model\.onnx: cannot be read: No such file"):
        read_graph(bundle)
    with pytest.raises(BadInput, match="precision: 'int8'"):
        read_graph(bundle, "int8")
    graph.close()
