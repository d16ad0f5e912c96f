"""The server's certificate and key, read again when their files change."""

import logging
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from guard.errors import BadInput
from guard.serving.changed_files import Stamp, stamp

__all__ = ["Certificates"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Loaded:
    configuration: grpc.ServerCertificateConfiguration
    context: ssl.SSLContext


class Certificates:
    """What connections are encrypted with, for gRPC and for HTTP.

    Each new connection looks whether a file changed; those that exist go on as they are. If the
    new files are wrong (or changed only in part so far), the old ones stay, and the log says so.

    Args:
        certificate: a PEM file, the certificate and those that lead to its authority.
        key: a PEM file, its private key.
        client_authority: a PEM file, the authorities that must have signed a client's certificate;
            None asks clients for none.

    Raises:
        BadInput: a file cannot be read, or certificate and key do not belong together.
    """

    def __init__(self, certificate: Path, key: Path, client_authority: Path | None = None) -> None:
        self._certificate, self._key, self._authority = certificate, key, client_authority
        self._files = tuple(file for file in (certificate, key, client_authority) if file)
        self._lock = threading.Lock()  # gRPC and HTTP ask from threads of their own
        self._seen = stamp(*self._files)
        self._loaded = self._load()

    def credentials(self) -> grpc.ServerCredentials:
        """Return gRPC credentials that follow the files."""
        given = self._loaded

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal given
            latest = self._latest()
            if latest is given:
                return None  # no change
            given = latest
            return latest.configuration

        fetcher: Any = fetch  # its type forgets that None says "no change"
        return grpc.dynamic_ssl_server_credentials(
            given.configuration, fetcher, self._authority is not None
        )

    def context(self) -> ssl.SSLContext:
        """Return what to wrap the next connection in."""
        return self._latest().context

    def _latest(self) -> _Loaded:
        with self._lock:
            seen = stamp(*self._files)
            if seen != self._seen:
                self._reload(seen)
            return self._loaded

    def _reload(self, seen: Stamp) -> None:
        try:
            loaded = self._load()
        except BadInput as error:
            self._seen = seen
            log.error("the certificate known before stays: %s", error)
            return
        if stamp(*self._files) != seen:
            return  # changed while it was read: the next connection looks again
        self._seen, self._loaded = seen, loaded
        log.info("the certificate of %s is used from now on", self._certificate)

    def _load(self) -> _Loaded:
        chain, key = _read(self._certificate, "certificate"), _read(self._key, "key")
        authority = None
        if self._authority is not None:
            authority = _read(self._authority, "client_authority")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # Without a password of ours, OpenSSL would ask on the terminal.
            context.load_cert_chain(self._certificate, self._key, password="")
        except (ssl.SSLError, ValueError, OSError) as error:
            raise BadInput(
                f"tls: {self._certificate} and {self._key}: no PEM certificate and its key"
                f" without a password: {_reason(error)}"
            ) from None
        if authority:
            context.verify_mode = ssl.CERT_REQUIRED
            try:
                context.load_verify_locations(cadata=authority.decode("ascii"))
            except (ssl.SSLError, ValueError) as error:
                raise BadInput(
                    f"tls.client_authority: {self._authority}: no PEM certificates: "
                    f"{_reason(error)}"
                ) from None
        configuration = grpc.ssl_server_certificate_configuration([(key, chain)], authority)
        return _Loaded(configuration, context)


def _read(file: Path, setting: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadInput(f"tls.{setting}: {file}: cannot be read: {error.strerror}") from None


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
