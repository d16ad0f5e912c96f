"""Bearer tokens: who may call, from a file that may change while the server runs."""

import hashlib
import logging
import re
import time
from collections.abc import Iterable
from hmac import compare_digest
from pathlib import Path

from guard.errors import BadInput
from guard.serving.changed_files import stamp

__all__ = ["BearerTokens"]

log = logging.getLogger(__name__)
SHORTEST = 16
LOOK_EVERY = 1.0  # seconds


class BearerTokens:
    """The tokens of a file; only their hashes are kept.

    When the file changes it is read again within a second. If it is wrong then, the tokens known
    before stay, and the log says what is wrong.

    Args:
        file: one token a line, or `sha256:` and the hexadecimal hash of one; empty lines and those
            that start with `#` say nothing.

    Raises:
        BadInput: the file cannot be read, a line is not allowed, or there is no token.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp = stamp(file)
        self._hashes = _read(file)
        self._look_at = time.monotonic() + LOOK_EVERY

    def bearer(self, metadata: Iterable[tuple[str, str | bytes]] | None) -> str | None:
        """Return a short name of the token that a call brought, None if it may not call."""
        if time.monotonic() > self._look_at:
            self._look()
        given = next((value for key, value in metadata or () if key == "authorization"), "")
        if not isinstance(given, str) or given[:7].lower() != "bearer ":
            return None
        digest = hashlib.sha256(given[7:].strip().encode()).digest()
        # All are compared, each in constant time: the answer's time tells nothing of the tokens.
        matching = [known for known in self._hashes if compare_digest(known, digest)]
        return matching[0].hex()[:8] if matching else None

    def _look(self) -> None:
        self._look_at = time.monotonic() + LOOK_EVERY
        seen = stamp(self._file)
        if seen == self._stamp:
            return
        self._stamp = seen
        try:
            self._hashes = _read(self._file)
        except BadInput as error:
            log.error("the tokens known before stay: %s", error)
        else:
            log.info("%s tokens are known now", len(self._hashes))


def _read(file: Path) -> tuple[bytes, ...]:
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not ASCII text"
        raise BadInput(f"tokens.file: {file}: cannot be read: {reason}") from None
    hashes = [
        _hash(line.strip(), f"{file}:{number}")
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not hashes:
        raise BadInput(f"tokens.file: {file}: no token in it; one a line is wanted")
    return tuple(dict.fromkeys(hashes))


def _hash(line: str, where: str) -> bytes:
    """Return the hash that a line stands for; a message must not show the line, it is a secret."""
    if line.startswith("sha256:"):
        if not re.fullmatch("[0-9a-fA-F]{64}", line[7:]):
            raise BadInput(f"{where}: after 'sha256:' 64 hexadecimal digits are wanted")
        return bytes.fromhex(line[7:])
    if len(line) < SHORTEST or " " in line:
        raise BadInput(f"{where}: a token has {SHORTEST} characters or more, and no space")
    return hashlib.sha256(line.encode()).digest()
