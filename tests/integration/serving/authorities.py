"""Certificates that tests are their own authority for."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM
BEGIN, END = (datetime.datetime(year, 1, 1, tzinfo=datetime.timezone.utc) for year in (2020, 2100))


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    private: ec.EllipticCurvePrivateKey

    @property
    def chain(self) -> bytes:
        return self.certificate.public_bytes(PEM)

    @property
    def key(self) -> bytes:
        kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return self.private.private_bytes(PEM, kind, plain)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write `tls.crt` and `tls.key` as Kubernetes names them."""
        certificate, key = folder / "tls.crt", folder / "tls.key"
        certificate.write_bytes(self.chain)
        key.write_bytes(self.key)
        return certificate, key


def issue(name: str, issuer: Pair | None = None) -> Pair:
    """Make a certificate for this machine; without an issuer an authority, signed by itself."""
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    here = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(END)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(here), critical=False)
        .sign(issuer.private if issuer else private, hashes.SHA256())
    )
    return Pair(built, private)
