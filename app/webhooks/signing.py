"""Signatures as Standard Webhooks has them (standardwebhooks.com, specification 1.0.0): HMAC-SHA256, base64.

Signed is `ID.TIMESTAMP.BODY`; while a secret is being replaced, there is a signature with each. A secret is shown as
`whsec_` and base64, and is nowhere else but in the database. Pure. May import: the standard library.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence

__all__ = ["make_secret", "show_secret", "sign"]

SECRET_BYTES = 32
MARK = "whsec_"


def make_secret(token_bytes: Callable[[int], bytes]) -> bytes:
    """A new secret; `token_bytes` is `secrets.token_bytes`."""
    return token_bytes(SECRET_BYTES)


def show_secret(secret: bytes) -> str:
    """A secret as its owner needs it."""
    return MARK + base64.b64encode(secret).decode()


def sign(secrets: Sequence[bytes], id_: str, second: int, body: bytes) -> dict[str, str]:
    """The header fields of a delivery."""
    signed = f"{id_}.{second}.".encode() + body
    made = (base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode() for secret in secrets)
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(second),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in made),
    }
