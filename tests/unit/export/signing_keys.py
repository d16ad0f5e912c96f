"""Key pairs as a release manager would make them."""

from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

__all__ = ["Keys", "write_keys"]


class Keys(NamedTuple):
    private: Path
    public: Path


def write_keys(
    folder: Path, curve: ec.EllipticCurve | None = None, passphrase: bytes | None = None
) -> Keys:
    """Write a new pair of PEM files; P-256 unless another curve is named."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = Keys(folder / "private.pem", folder / "public.pem")
    key = ec.generate_private_key(curve or ec.SECP256R1())
    lock = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    keys.private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
    public = key.public_key()
    keys.public.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return keys
