"""What a client may be made with, and where a token may go."""

from pathlib import Path

import pytest

from guard.calling.connection import Connection, Credentials
from guard.errors import BadInput


@pytest.mark.parametrize(
    ("target", "credentials", "message"),
    [
        ("guard.example", {}, "server 'guard.example': HOST:PORT is wanted"),
        ("guard.example:1", {"token": "x"}, "a token is not sent without TLS"),
        ("guard.example:1", {"token": "x", "token_without_tls": True}, "not sent without TLS"),
        ("10.0.0.1:1", {"token": "x", "token_without_tls": True}, "not sent without TLS"),
        ("localhost.example:1", {"token": "x", "token_without_tls": True}, "not sent without"),
        ("localhost:1", {"token": "x"}, "without TLS with token_without_tls only"),
        ("127.0.0.1:1", {"token": "x"}, "without TLS with token_without_tls only"),
        ("localhost:1", {"token": " ", "token_without_tls": True}, "token: no token"),
        ("localhost:1", {"token": "a\nb", "token_without_tls": True}, "token: no token"),
        ("localhost:1", {"token": "clé", "token_without_tls": True}, "printable ASCII"),
        ("localhost:1", {"ca": Path("none.pem")}, "none.pem: cannot be read: No such file"),
        ("localhost:1", {"tls": True, "token": Path("none")}, "none: cannot be read"),
        ("localhost:1", {"ca": Path(pytest.__file__)}, "not a PEM file"),
    ],
)
def test_what_is_refused(target: str, credentials: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        Connection(target, Credentials(**credentials))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("one", ["certificate", "key"])
def test_a_certificate_needs_its_key(one: str) -> None:
    with pytest.raises(BadInput, match="both are wanted, or neither"):
        Credentials(**{one: Path("x.pem")})


@pytest.mark.parametrize("target", ["localhost:1", "127.0.0.1:1", "[::1]:1", "unix:/run/guard"])
def test_a_token_may_stay_within_this_machine(target: str) -> None:
    connection = Connection(target, Credentials(token="secret", token_without_tls=True))
    assert connection.metadata() == (("authorization", "Bearer secret"),)


def test_a_tokens_file_is_read_for_every_call(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    connection = Connection("guard.example:1", Credentials(tls=True, token=file))
    assert connection.metadata() == (("authorization", "Bearer first"),)
    file.write_text("second\n")
    assert connection.metadata() == (("authorization", "Bearer second"),)
    file.write_text("")
    with pytest.raises(BadInput, match=r"token: no token"):
        connection.metadata()
