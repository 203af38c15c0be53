"""ID tokens (OpenID Connect Core 1.0, 2 and 3.1.3.7): whose they are, if they are ours to believe.

In: a token, the provider's keys, who issues and for whom, the time. Out: its claims, or why not. Pure.

    alg        one of ALGORITHMS, all of them with a public key: with `none` or HMAC anybody who knows the client, or
               the public key, could write a token. What `alg` says must be what the key is for
    kid        names the key; without one the set must have a single key that fits
    iss, aud   exactly the issuer, and this client; of several audiences `azp` must be this client
    exp, iat   LEEWAY_S of difference between clocks
    nonce      of the sign-in that this browser began

PyJWT and cryptography take 25 ms to load: `load_jwt` does that at start, for who has a provider. May import: PyJWT.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import jwt

__all__ = ["ALGORITHMS", "Claims", "KeySet", "TokenError", "UnknownKeyError", "load_jwt", "read_id_token"]

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LEEWAY_S = 60
KEYS_MAX = 100
TOKEN_CHARACTERS_MAX = 64 * 1024


class TokenError(Exception):
    """A token that is not to be believed, and why; it never holds the token."""


class UnknownKeyError(TokenError):
    """No key of the set fits: there may be new ones."""


class Claims(msgspec.Struct, frozen=True):
    """What a token, or the provider's answer about a user, says."""

    sub: str
    iss: str = ""
    aud: str | tuple[str, ...] = ()
    exp: float = 0
    iat: float = 0
    nbf: float = 0
    nonce: str = ""
    azp: str | None = None
    email: str | None = None
    email_verified: bool | str | None = None
    amr: tuple[str, ...] | None = None

    @property
    def is_verified(self) -> bool:
        """Whether the provider has made sure that the e-mail is theirs; some say so by a word."""
        return bool(self.email) and self.email_verified in (True, "true")

    @property
    def has_several_factors(self) -> bool:
        """Whether they showed more than one factor (RFC 8176)."""
        return "mfa" in (self.amr or ())


class KeySet(msgspec.Struct, frozen=True):
    """The provider's keys as its JWKS has them (RFC 7517, 5); those of unknown kinds do no harm."""

    keys: tuple[dict[str, Any], ...]

    def find(self, header: dict[str, Any]) -> jwt.PyJWK:
        """The key that a token names; raises UnknownKeyError, TokenError."""
        import jwt  # noqa: PLC0415  see above

        fitting = [key for key in self.keys[:KEYS_MAX] if _fits(key, header)]
        if len(fitting) != 1:
            raise UnknownKeyError("no key of the provider fits" if not fitting else "several keys of the provider fit")
        try:
            found = jwt.PyJWK(fitting[0], algorithm=header["alg"])
        except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:  # bytes of somebody else
            raise TokenError("the key is not what its kind says") from error
        if isinstance(found.Algorithm, jwt.algorithms.RSAAlgorithm) and found.Algorithm.check_key_length(found.key):
            raise TokenError("the key is too short")
        return found


def load_jwt() -> None:
    """Loads what reading takes, so that no loop stands still for it."""
    import jwt  # noqa: F401, PLC0415  see above


def read_id_token(token: str, keys: KeySet, *, issuer: str, client_id: str, nonce: str, now_s: float) -> Claims:
    """The claims of a token.

    Raises:
        UnknownKeyError: it may be right under keys that are newer than these.
        TokenError: it is not to be believed.
    """
    claims = _claims(token, keys)
    for is_so, reason in _faults(claims, issuer, client_id, nonce, now_s):
        if is_so:
            raise TokenError(reason)
    return claims


def _claims(token: str, keys: KeySet) -> Claims:
    """What a token says under a signature of the provider."""
    import jwt  # noqa: PLC0415  see above

    if len(token) > TOKEN_CHARACTERS_MAX:
        raise TokenError("is too long")
    try:
        header = jwt.get_unverified_header(token)
        if header.get("alg") not in ALGORITHMS:
            raise TokenError("its algorithm is none that is allowed")
        if "crit" in header:
            raise TokenError("it names extensions that must be understood")
        payload = jwt.PyJWS().decode(token, keys.find(header), algorithms=list(ALGORITHMS))
        return msgspec.json.decode(payload, type=Claims)
    except jwt.PyJWTError as error:
        raise TokenError(f"its signature or form is wrong ({type(error).__name__})") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TokenError("its claims are not what they must be") from error


def _faults(claims: Claims, issuer: str, client_id: str, nonce: str, now_s: float) -> Sequence[tuple[bool, str]]:
    """(whether it is so, what is wrong then)."""
    audiences = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
    return (
        (claims.iss != issuer, "another issuer"),
        (client_id not in audiences, "another audience"),
        (claims.azp not in ((client_id,) if len(audiences) > 1 else (client_id, None)), "another party was authorised"),
        (not claims.sub, "no subject"),
        (not now_s < claims.exp + LEEWAY_S, "expired"),
        (not 0 < claims.iat <= now_s + LEEWAY_S, "issued in the future, or never"),
        (claims.nbf > now_s + LEEWAY_S, "not valid yet"),
        (not nonce or claims.nonce != nonce, "of another sign-in"),
    )


def _fits(key: dict[str, Any], header: dict[str, Any]) -> bool:
    """Whether a key may have signed a token with this header."""
    family = {"R": "RSA", "P": "RSA", "E": "EC"}[header["alg"][0]] if header["alg"] != "EdDSA" else "OKP"
    return (
        key.get("kty") == family
        and key.get("use", "sig") == "sig"
        and key.get("alg", header["alg"]) == header["alg"]
        and ("kid" not in header or key.get("kid") == header["kid"])
    )
