"""Requests that are nearly right: valid ones, changed field by field and byte by byte.

Field by field, through protobuf's own descriptions, so that what is sent reaches the code behind
the parser: sizes that overflow, numbers that are not finite, names that are not there, parameters
of each kind, elements framed wrongly, images cut short, of odd modes or far larger than their
files. Byte by byte, so that the parser meets what no client would write: wrong wire types, unknown
fields, lengths beyond the end, groups in groups, text that is not UTF-8.
"""

import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from PIL import Image

__all__ = ["Mutations"]

NUMBERS = [0, 1, 2, 3, 8, -1, 255, 256, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, -(2**63)]
REALS = [0.0, -0.0, 0.5, -1.0, 1e-45, 3.5e38, 1e308, float("nan"), float("inf"), float("-inf")]
TEXTS = (
    *("", "tiny", "images", "threshold", "timeout", "priority", "verdict", "valid", "label"),
    *("FP32", "FP16", "UINT8", "BYTES", "INT64", "FP64", "BOOL", "fp32", "BF16", "classification"),
    *("nan", "-inf", "1e400", "0x10", "1_0", " 1 ", "\0", "ü€😀", "%s%n", "../../etc", "x" * 2000),
)
CHANGES = (1, 1, 2, 4)
"""How many of a kind a message may have."""


class Mutations:
    """An endless, repeatable supply of odd requests.

    Args:
        seed: the same requests for the same seed.
        side: height and width of the images that are taken.
        most_pixels: that the server decodes; a bomb has more.

    Attributes:
        images: float32 `[4, 3, side, side]`.
        files: of every kind, the first of which is a valid PNG.
    """

    def __init__(self, seed: int, side: int, most_pixels: int) -> None:
        self._draw = random.Random(seed)
        self.images = np.random.default_rng(seed).random((4, 3, side, side), np.float32)
        self.files = _files(self.images, most_pixels)

    def request(self, valid: Message) -> bytes:
        """Return a valid request as bytes, after changes to its fields, its bytes or both."""
        draw = self._draw
        changed = type(valid)()
        changed.CopyFrom(valid)
        kind = draw.random()
        if kind < 0.9:
            for _ in range(draw.choice(CHANGES)):
                self._change_field(changed)
        written = changed.SerializeToString()
        if kind > 0.75:
            for _ in range(draw.choice(CHANGES)):
                written = self._change_bytes(written)
        return written

    def _file(self) -> bytes:
        """Return an image file, whole or not."""
        return self._cut(self._draw.choice(self.files))

    def _change_field(self, message: Message) -> None:
        """Change one field, anywhere below `message`."""
        places = [(part, field) for part in _parts(message) for field in part.DESCRIPTOR.fields]
        if not places:
            return
        part, field = self._draw.choice(places)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            self._change_map(getattr(part, field.name), field)
        elif field.is_repeated:
            self._change_repeated(part, field)
        elif field.message_type is not None:
            self._draw.choice((part.ClearField, lambda name: getattr(part, name).SetInParent()))(
                field.name
            )
        else:
            setattr(part, field.name, self._value(field))

    def _change_map(self, entries: Any, field: FieldDescriptor) -> None:
        key = self._draw.choice(TEXTS)
        value = field.message_type.fields_by_name["value"]
        if value.message_type is None:
            entries[key] = self._value(value)
            return
        choice = self._draw.choice(
            [one for one in value.message_type.fields if not one.message_type]
        )
        if choice.is_repeated:
            getattr(entries[key], choice.name).append(self._value(choice))
        else:
            setattr(entries[key], choice.name, self._value(choice))

    def _change_repeated(self, part: Message, field: FieldDescriptor) -> None:
        values = getattr(part, field.name)
        how = self._draw.randrange(5)
        if how == 0:
            part.ClearField(field.name)  # type: ignore[arg-type]
        elif how == 1 and values:
            del values[self._draw.randrange(len(values))]
        elif how == 2 and values:
            values.extend([values[0]] * self._draw.choice((1, 4, 40)))
        elif field.message_type is not None:
            values.add()
        elif values and how == 3:
            values[self._draw.randrange(len(values))] = self._value(field)
        else:
            values.append(self._value(field))

    def _value(self, field: FieldDescriptor) -> Any:
        draw = self._draw
        kind = field.cpp_type
        if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
            return draw.choice(REALS)
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return draw.random() < 0.5
        if field.type == FieldDescriptor.TYPE_STRING:
            return draw.choice(TEXTS)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return self._bytes()
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            return draw.choice((0, 1, 2, 99))
        low, high = LIMITS[kind]
        return min(max(draw.choice(NUMBERS), low), high)

    def _bytes(self) -> bytes:
        """Return tensor contents: numbers, image files, elements after lengths, or nothing."""
        draw = self._draw
        made: list[Callable[[], bytes]] = [
            lambda: b"",
            lambda: self._cut(draw.choice(self.images).tobytes()),
            self._file,
            lambda: _element(self._file()),
            lambda: _element(self._file()) + _element(self._file()),
            lambda: _element(self._file(), draw.choice((0, 1, 2**31, 2**32 - 1))),
            lambda: np.array([draw.choice(REALS)], np.float64).astype("<f4").tobytes(),
        ]
        with np.errstate(over="ignore"):
            return draw.choice(made)()

    def _cut(self, data: bytes) -> bytes:
        """Leave data alone, cut it short, or damage a few of its bytes."""
        draw = self._draw
        how = draw.random()
        if how < 0.4:
            return data
        if how < 0.6:
            return data[: draw.randrange(len(data) + 1)]
        damaged = bytearray(data)
        for _ in range(draw.randint(1, 8)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        return bytes(damaged)

    def _change_bytes(self, data: bytes) -> bytes:
        draw = self._draw
        at = draw.randrange(len(data) + 1)
        number, wire = draw.choice((0, 1, 2, 5, 7, 1000, 2**29 - 1)), draw.randrange(8)
        how = draw.randrange(6)
        if how == 0:
            return data[:at]
        if how == 1:
            return data[:at] + draw.randbytes(draw.randint(1, 8)) + data[at:]
        if how == 2 and data:
            return data[:at] + data[draw.randrange(len(data)) :]
        if how == 3:  # a field that is unknown, or of a wire type that is not its own, or of none
            return data + _varint(number << 3 | wire) + draw.randbytes(draw.randint(0, 12))
        if how == 4:  # a length far beyond the end
            return data + _varint(number << 3 | 2) + _varint(draw.choice((2**31, 2**64 - 1)))
        return data + _varint(number << 3 | 3) * draw.choice((1, 50, 200))  # groups in groups


LIMITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def _parts(message: Message) -> list[Message]:
    """Return a message and all that are set below it, the values of maps left out."""
    found = [message]
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for part in value if field.is_repeated else [value]:
            found.extend(_parts(part))
    return found


def _files(images: np.ndarray, most_pixels: int) -> list[bytes]:
    """Return files of every kind that a decoder may be given."""
    pixels = (images[0].transpose(1, 2, 0) * 255).astype(np.uint8)
    whole = Image.fromarray(pixels)
    files = [_saved(whole, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF")]
    for mode in ("1", "L", "LA", "P", "RGBA", "I;16"):
        files.append(_saved(whole.convert("L" if mode[0] == "I" else mode).convert(mode), "PNG"))
    files += [_saved(whole.convert("CMYK"), "JPEG"), _saved(whole.resize((7, 1)), "PNG")]
    wide = most_pixels // 100
    zeros = zlib.compress(bytes((wide + 1) * 200), 9)
    files += [_png(wide, 200, zeros), _png(2**31 - 1, 2**31 - 1, zeros), _png(0, 0, b"")]
    return [*files, _png(wide, 99, zeros), b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"junk"]


def _saved(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def _png(width: int, height: int, compressed: bytes) -> bytes:
    """Write a grey PNG whose header says what it likes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", compressed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def _element(data: bytes, length: int | None = None) -> bytes:
    return (len(data) if length is None else length).to_bytes(4, "little") + data


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])
