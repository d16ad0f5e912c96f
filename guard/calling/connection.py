"""The way to a server: address, encryption, who the client is, and how the connection is kept."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from guard.errors import BadInput

__all__ = ["Connection", "Credentials"]

OPTIONS: Final = [
    ("grpc.max_send_message_length", -1),  # the server's limit counts
    ("grpc.enable_retries", 0),  # `guard.calling.retries` tries again, and for longer
    # A server that was restarted is found within seconds; gRPC itself waits up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # how long a server may take to open a connection
    # While a call is open, a connection that is dead without a word is noticed.
    ("grpc.keepalive_time_ms", 15_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # of a ping that was under way; a minute by default
    ("grpc.http2.max_pings_without_data", 0),
]


@dataclass(frozen=True)
class Credentials:
    """How server and client know each other; by default not at all, over a plain connection.

    Raises:
        BadInput: a certificate without its key, or a key without its certificate.
    """

    tls: bool = False
    """Encrypt, and trust the system's authorities. `ca` and `certificate` imply encryption."""
    ca: Path | None = None
    """A PEM file: the authorities to trust in place of the system's."""
    certificate: Path | None = None
    """A PEM file: the client's own certificate (mutual TLS), with its chain."""
    key: Path | None = None
    """A PEM file: the key of the certificate."""
    token: str | Path | None = None
    """A bearer token, or the file that has it, which is read for every call."""
    token_without_tls: bool = False
    """Send the token over a plain connection, which is done within this machine only."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise BadInput("certificate and key: both are wanted, or neither")

    @property
    def encrypted(self) -> bool:
        """Whether the connection is."""
        return self.tls or self.ca is not None or self.certificate is not None


class Connection:
    """Opens channels to one server, and proves to it who the client is.

    Raises:
        BadInput: the address is none, a file cannot be read, or a token would be sent in the clear.
    """

    def __init__(self, target: str, credentials: Credentials) -> None:
        self.target, self._credentials = target, credentials
        if ":" not in target:
            raise BadInput(f"server {target!r}: HOST:PORT is wanted")
        local = _is_local(target)
        if credentials.token is not None and not credentials.encrypted:
            if not local:
                raise BadInput(f"{target}: a token is not sent without TLS; give ca or tls")
            if not credentials.token_without_tls:
                raise BadInput(f"{target}: a token is sent without TLS with token_without_tls only")
        # A proxy would take what is meant to stay within this machine out of it.
        self._options = [*OPTIONS, ("grpc.enable_http_proxy", int(not local))]
        self._tls = self._read_tls() if credentials.encrypted else None
        self.metadata()

    def channel(self) -> grpc.Channel:
        """Open a channel for threads."""
        if self._tls is None:
            return grpc.insecure_channel(self.target, self._options)
        return grpc.secure_channel(self.target, self._tls, self._options)

    def aio_channel(self) -> grpc.aio.Channel:
        """Open a channel for asyncio."""
        if self._tls is None:
            return grpc.aio.insecure_channel(self.target, self._options)
        return grpc.aio.secure_channel(self.target, self._tls, self._options)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what goes with every call.

        Raises:
            BadInput: the token's file cannot be read, or has no token.
        """
        token = self._credentials.token
        if token is None:
            return ()
        where = str(token) if isinstance(token, Path) else "token"
        value = _read(token).decode("utf-8", "replace") if isinstance(token, Path) else token
        value = value.strip()
        if not value or not all("!" <= letter <= "~" for letter in value):
            raise BadInput(f"{where}: no token; printable ASCII without spaces is wanted")
        return (("authorization", f"Bearer {value}"),)

    def _read_tls(self) -> grpc.ChannelCredentials:
        own = self._credentials
        files = (own.ca, own.key, own.certificate)
        return grpc.ssl_channel_credentials(
            *(None if path is None else _read_pem(path) for path in files)
        )


def _is_local(target: str) -> bool:
    """Whether an address is one of this machine's own; a name other than localhost is not."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    host = target.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None


def _read_pem(path: Path) -> bytes:
    data = _read(path)
    if b"-----BEGIN " not in data:
        raise BadInput(f"{path}: not a PEM file")
    return data
