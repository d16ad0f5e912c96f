"""What the server and a worker say to each other: messages of one size, read as they come."""

import struct
from enum import IntEnum
from typing import NamedTuple

__all__ = ["ANSWER_BYTES", "RUN_BYTES", "Answer", "Run", "Told"]

TEXT = 400
"""Most bytes of an answer's text."""
_RUN = struct.Struct("<IQIIIIfd")
_ANSWER = struct.Struct(f"<IIdH{TEXT}s")
RUN_BYTES, ANSWER_BYTES = _RUN.size, _ANSWER.size


class Run(NamedTuple):
    """The server asks for a batch that lies in a slot.

    Attributes:
        slot: its number.
        size: bytes that are reserved of it.
        batch, channels, height, width: shape of the images in it.
        threshold: of the joint discrepancy.
        deadline: by `time.monotonic()`, which all processes share; the batch is not run after it.
    """

    slot: int
    size: int
    batch: int
    channels: int
    height: int
    width: int
    threshold: float
    deadline: float

    def pack(self) -> bytes:
        """Return the message as it is sent."""
        return bytes(_RUN.pack(*self))

    @classmethod
    def unpack(cls, message: bytes) -> "Run":
        """Read a message of `RUN_BYTES`."""
        return cls(*_RUN.unpack(message))


class Told(IntEnum):
    """What an answer says."""

    READY = 0
    """The model runs; the text is the device."""
    BAD_BUNDLE = 1
    """The model does not run and never will; the worker ends."""
    NO_DEVICE = 2
    """The accelerator cannot be used, or no longer; the worker ends."""
    DONE = 3
    FAILED = 4
    """The run raised; the text says what."""
    EXPIRED = 5
    """The deadline had passed, so there was no run."""


class Answer(NamedTuple):
    """A worker's answer; `seconds` is the time of the run."""

    told: Told
    slot: int = 0
    seconds: float = 0.0
    text: str = ""

    def pack(self) -> bytes:
        """Return the message as it is sent; a long text is cut."""
        text = self.text.encode()[:TEXT]
        return bytes(_ANSWER.pack(self.told, self.slot, self.seconds, len(text), text))

    @classmethod
    def unpack(cls, message: bytes) -> "Answer":
        """Read a message of `ANSWER_BYTES`."""
        told, slot, seconds, length, text = _ANSWER.unpack(message)
        return cls(Told(told), slot, seconds, text[:length].decode(errors="replace"))
