"""The signature of a bundle, made and verified by the OpenSSF library `model-signing`.

It covers every other file, the manifest among them. Only the extra `sign` brings the library, and
only who gives a key needs it.
"""

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

from guard.bundle_files import MANIFEST_NAME, SIGNATURE_NAME, read_bounded
from guard.errors import BadBundle, BadInput

if TYPE_CHECKING:
    from model_signing.hashing import Config

__all__ = ["KEYS", "canonical", "require_library", "signed_files", "verify_signature"]

KEYS = "an elliptic-curve key on P-256, P-384 or P-521 in PEM is wanted"
LONGEST = 4 << 20


def verify_signature(folder: Path, public_key: Path) -> None:
    """Verify that the owner of a key signed the files of a bundle, these and no others.

    Args:
        folder: a bundle of plain files, with a signature.
        public_key: a PEM file: an elliptic-curve key on P-256, P-384 or P-521.

    Raises:
        BadInput: the key cannot be used, or the library is missing.
        BadBundle: the signature is not one, is another key's, or of other files.
    """
    require_library()
    from model_signing import verifying

    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    except OSError as error:
        raise BadInput(f"{public_key}: cannot be read: {error.strerror}") from None
    except Exception as error:  # of what is no such key, each kind fails in a way of its own
        raise BadInput(f"{public_key}: is not a public key to verify with; {KEYS}") from error
    path = folder / SIGNATURE_NAME
    try:
        _require_plain(read_bounded(path, LONGEST).decode("utf-8"))
        verifier.set_hashing_config(signed_files()).verify(folder, path)
    except BadBundle:
        raise
    except Exception as error:  # its errors have no base of their own, and none is a pass
        raise BadBundle(f"{path}: does not verify with {public_key}: {_reason(error)}") from None


def signed_files() -> "Config":
    """Return the library's configuration: every file by SHA-256, but for the signature itself."""
    from model_signing import hashing

    return hashing.Config().set_ignored_paths(paths=[SIGNATURE_NAME], ignore_git_paths=False)


def require_library() -> None:
    """Make sure that the library is there.

    Raises:
        BadInput: it is not.
    """
    try:
        import model_signing.signing
        import model_signing.verifying  # noqa: F401
    except ModuleNotFoundError as error:
        raise BadInput(
            f"a bundle's signature needs model-signing ({error.name} is missing): "
            "pip install 'cornerguard[sign]'"
        ) from None


def canonical(text: str) -> str:
    """Return the one way that a signature is written: JSON without a space."""
    return json.dumps(json.loads(text), separators=(",", ":"))


def _require_plain(text: str) -> None:
    """Refuse what the library would let pass: other spellings, and a signer's exceptions.

    With one spelling only, no byte of the file can change unseen. And a signer may have left files
    out of what was signed, but not the manifest, which has the sums of all others.
    """
    if canonical(text) != text:
        raise ValueError("it is not written as signatures are")
    envelope = json.loads(text)["dsseEnvelope"]
    for coded in (envelope["payload"], *(one["sig"] for one in envelope["signatures"])):
        if base64.b64encode(base64.b64decode(coded)).decode() != coded:  # the last bits are spare
            raise ValueError("its base64 is not written as signatures are")
    signed = json.loads(base64.b64decode(envelope["payload"]))["predicate"]["resources"]
    if MANIFEST_NAME not in {resource["name"] for resource in signed}:
        raise ValueError(f"{MANIFEST_NAME} is not among what was signed")


def _reason(error: Exception) -> str:
    """Keep which files differ, of a list of them with the bytes of every digest."""
    first = " ".join(str(error).split()).partition(": Expected ")[0]
    plain = first.translate(str.maketrans("", "", '[]"\\'))[:300]
    return plain or "the signature is not of what it comes with"
