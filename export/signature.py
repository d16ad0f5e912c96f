"""Signing a bundle with a private key; `guard.signature` verifies it."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from guard.bundle import load_bundle
from guard.bundle_files import SIGNATURE_NAME
from guard.errors import BadInput
from guard.signature import KEYS, canonical, require_library, signed_files
from guard.storage import write_text

if TYPE_CHECKING:
    from model_signing.signing import Config

__all__ = ["require_signing_key", "sign_bundle"]


def sign_bundle(folder: Path, key: Path) -> None:
    """Write `model.sig`, the signature over every other file of a sealed bundle.

    An older signature is replaced. What the library's own command verifies is this file too:
    `model_signing verify key --signature FOLDER/model.sig --public_key PEM FOLDER`.

    Args:
        folder: a bundle, whole: its manifest is among what is signed.
        key: a PEM file without a passphrase: an elliptic-curve key on P-256, P-384 or P-521.

    Raises:
        BadInput: the key cannot be used, or the library is missing (the extra `sign`).
        BadBundle: the bundle is not whole.
    """
    signer = _signer(key)
    load_bundle(folder)
    with TemporaryDirectory() as aside:
        written = Path(aside) / SIGNATURE_NAME
        signer.set_hashing_config(signed_files()).sign(folder, written)
        write_text(folder / SIGNATURE_NAME, canonical(written.read_text(encoding="utf-8")))


def require_signing_key(key: Path) -> None:
    """Refuse a key that could not sign, before the work that it is to sign.

    Raises:
        BadInput: the key cannot be used, or the library is missing.
    """
    _signer(key)


def _signer(key: Path) -> "Config":
    require_library()
    from model_signing import signing

    try:
        return signing.Config().use_elliptic_key_signer(private_key=key)
    except OSError as error:
        raise BadInput(f"{key}: cannot be read: {error.strerror}") from None
    except Exception as error:  # of what is no such key, each kind fails in a way of its own
        raise BadInput(f"{key}: is not a private key to sign with; {KEYS}") from error
