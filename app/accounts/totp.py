"""A second factor: six digits of the time (TOTP, RFC 6238), or one of ten recovery codes.

In: a secret, a code as somebody typed it, the time. Out: which step of 30 s the code belongs to. Pure.

    secret     160 random bits in base32, as authenticator apps take them; it has to be known to make the digits, so it
               cannot be stored as a hash
    step       the last step whose code was used: that code and all before it are worth nothing any more (RFC 6238, 5.2)
    recovery   SHA-256 of each recovery code that was not used; 80 random bits need no slow hash

May import: nothing of ours.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable

import msgspec
import pyotp

__all__ = ["RECOVERY_CODES", "STEP_S", "Factor", "hash_recovery", "is_digits", "make_recovery", "make_secret", "plain"]

STEP_S = 30  # what apps assume
AROUND = 1  # steps before and after that are accepted: clocks differ, and people type (RFC 6238, 5.2)
RECOVERY_CODES = 10
SECRET_BYTES = 20  # RFC 4226, 4, R6
ISSUER = "BoltLink"


class Factor(msgspec.Struct, frozen=True, kw_only=True):
    """A second factor as stored with its user; asked for once it is active."""

    secret: str
    is_active: bool = False
    step: int = 0
    recovery: tuple[bytes, ...] = ()

    def __repr__(self) -> str:
        return f"Factor(is_active={self.is_active})"  # logs and tracebacks show it without its secret

    def find_step(self, code: str, now_s: float) -> int | None:
        """The step of a code that is right now and was not used; None for a wrong one."""
        if not is_digits(code):
            return None
        now = int(now_s // STEP_S)
        make = pyotp.TOTP(self.secret).generate_otp
        steps = range(max(0, now - AROUND), now + AROUND + 1)
        right = [step for step in steps if hmac.compare_digest(make(step), code)]
        return max((step for step in right if step > self.step), default=None)

    def uri(self, email: str) -> str:
        """What an authenticator app reads, as a QR code or a link."""
        return pyotp.TOTP(self.secret).provisioning_uri(name=email, issuer_name=ISSUER)


def make_secret(token_bytes: Callable[[int], bytes]) -> str:
    """A new secret."""
    return base64.b32encode(token_bytes(SECRET_BYTES)).decode()


def make_recovery(token_bytes: Callable[[int], bytes]) -> list[str]:
    """New recovery codes, such as `k3xq-7vd2-mmaz-p4ht`."""
    texts = (base64.b32encode(token_bytes(10)).decode().lower() for _ in range(RECOVERY_CODES))
    return ["-".join(text[at : at + 4] for at in range(0, 16, 4)) for text in texts]


def plain(code: str) -> str:
    """A code as it is compared: without spaces and dashes, in lower case."""
    return code.replace(" ", "").replace("-", "").lower()


def is_digits(code: str) -> bool:
    """Whether a plain code is one of the time."""
    return len(code) == 6 and code.isascii() and code.isdigit()


def hash_recovery(code: str) -> bytes:
    """What is stored of a recovery code."""
    return hashlib.sha256(plain(code).encode("utf-8", "surrogatepass")).digest()
