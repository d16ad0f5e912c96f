"""Who may call: tokens and their hashes in a file, and what happens when it changes."""

import hashlib
import logging
import time
from pathlib import Path

import pytest

from guard.errors import BadInput
from guard.serving.bearer_tokens import BearerTokens

FIRST, SECOND = "first-token-0123456789", "second-token-0123456789"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    hashed = hashlib.sha256(SECOND.encode()).hexdigest()
    path.write_text(f"# ours\n\n  {FIRST}\nsha256:{hashed}\n")
    return path


@pytest.mark.parametrize(
    ("authorization", "allowed"),
    [
        (f"Bearer {FIRST}", True),
        (f"bearer {SECOND}", True),
        (f"Bearer {FIRST}x", False),
        (f"Bearer {FIRST[:-1]}", False),
        (f"Basic {FIRST}", False),
        (FIRST, False),
        ("Bearer ", False),
        ("Bearer # ours", False),
        (b"Bearer \xff", False),
    ],
)
def test_bearers(file: Path, authorization: str | bytes, allowed: bool) -> None:
    metadata = (("user-agent", "x"), ("authorization", authorization))
    assert (BearerTokens(file).bearer(metadata) is not None) == allowed


def test_bearers_have_different_names_that_tell_nothing(file: Path) -> None:
    tokens = BearerTokens(file)
    first, second = (
        tokens.bearer((("authorization", f"Bearer {token}"),)) for token in (FIRST, SECOND)
    )
    assert first
    assert second
    assert first != second
    assert first not in FIRST
    assert tokens.bearer(()) is None
    assert tokens.bearer(None) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no token in it"),
        ("# none\n", "no token in it"),
        ("short\n", ":1: a token has 16 characters or more"),
        (f"{FIRST}\ntwo words are no token\n", ":2: a token has 16"),
        ("sha256:0123\n", ":1: after 'sha256:' 64 hexadecimal"),
        ("töken-0123456789\n", "not ASCII text"),
    ],
)
def test_a_wrong_file_is_named_and_not_shown(file: Path, text: str, message: str) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=message) as caught:
        BearerTokens(file)
    assert "words" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        BearerTokens(tmp_path / "none")


def test_the_file_may_change(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tokens, now = BearerTokens(file), time.monotonic()

    def allowed(token: str) -> bool:
        nonlocal now
        now += 2
        monkeypatch.setattr(time, "monotonic", lambda: now)
        return tokens.bearer((("authorization", f"Bearer {token}"),)) is not None

    file.write_text(f"{SECOND}-new\n")
    assert not allowed(FIRST)
    assert allowed(f"{SECOND}-new")
    file.write_text("broken\n")
    assert allowed(f"{SECOND}-new")
    file.unlink()
    assert allowed(f"{SECOND}-new")
    messages = [record.message for record in caplog.records]
    assert messages[0] == "1 tokens are known now"
    assert [message[:30] for message in messages[1:]] == ["the tokens known before stay: "] * 2
