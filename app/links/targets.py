"""Judges where a link may lead, and writes it the way it will be sent.

In: what a person typed. Out: visible ASCII, fit for a Location header. A target that is already a legal ASCII URL is
kept byte for byte; else the least change that makes it one without changing what it means (RFC 3986 6.2.2, RFC 3987
3.1): scheme and host in lower case, the host in IDNA (UTS 46), other characters percent-encoded as UTF-8.
May import: idna.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from urllib.parse import urlsplit

import idna

__all__ = ["TARGET_BYTES_MAX", "TargetError", "authority_of", "normalise_host", "normalise_target"]

TARGET_BYTES_MAX = 8192
HOST_CHARACTERS_MAX = 253
#: Of a user name, host and port together: `urlsplit` normalises them, which takes 9 s for 80,000 accents.
AUTHORITY_CHARACTERS_MAX = 1_024
_OURSELVES = "must not lead back to this service"
_TOO_LONG = f"must not be longer than {TARGET_BYTES_MAX} bytes"
_AUTHORITY = re.compile(r"[^/]*//([^/?#]*)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_TRIPLET = re.compile(r"%[0-9A-Fa-f]{2}")
# RFC 3986 appendix A: what may stand in a path, query or fragment besides percent-encoded triplets.
_ILLEGAL = re.compile(r"[^A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
# What most targets are, for which everything below changes nothing: names without a port, no "%", a top-level domain.
_PLAIN = re.compile(
    r"(https?)://((?:(?!-)[a-z0-9_-]{1,63}(?<!-)\.)+(?!-)[a-z][a-z0-9_-]{0,62}(?<!-))"
    r"(?:[/?#][A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]*)?",
    re.ASCII,
)
_PORTS = {"http": 80, "https": 443}


class TargetError(ValueError):
    """A target that a link may not have; the text says why."""


def normalise_target(text: str, ours: Collection[tuple[str, int]] = ()) -> str:
    """The target as it will be stored and sent.

    Args:
        text: as given.
        ours: (host, port) of this instance's own addresses, which would make a circle.

    Raises:
        TargetError: no http(s) URL, no valid host, control characters, too long, credentials, or ourselves.
    """
    if len(text) > TARGET_BYTES_MAX:  # before any work: to encode 600 kB took half a second of the loop
        raise TargetError(_TOO_LONG)
    plain = _PLAIN.fullmatch(text)
    if plain is not None and len(plain[2]) <= HOST_CHARACTERS_MAX:
        if (plain[2], _PORTS[plain[1]]) in ours:
            raise TargetError(_OURSELVES)
        return text
    if _CONTROL.search(text):
        raise TargetError("must not contain control characters")
    if text != text.strip():
        raise TargetError("must not begin or end with a space")
    authority = _AUTHORITY.match(text)
    if authority is not None and len(authority[1]) > AUTHORITY_CHARACTERS_MAX:
        raise TargetError("has no valid host: it is too long")
    try:
        parts = urlsplit(text)
        scheme, port = parts.scheme.lower(), parts.port
    except ValueError as error:
        raise TargetError(f"is not a URL: {error}") from error
    if scheme not in _PORTS or not text[len(scheme) :].startswith("://"):
        raise TargetError("must start with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise TargetError("must not contain a user name or password")
    host = normalise_host(parts.hostname or "")
    if port == 0:
        raise TargetError("must not have port 0")
    if (host.strip("[]").removesuffix("."), port or _PORTS[scheme]) in ours:
        raise TargetError(_OURSELVES)
    rest = text[text.index("://") + 3 :][len(parts.netloc) :]
    target = f"{scheme}://{host}{_port_text(parts.netloc)}{_encode(rest)}"
    if len(target) > TARGET_BYTES_MAX:
        raise TargetError(_TOO_LONG)
    return target


def authority_of(url: str) -> tuple[str, int]:
    """(host, port) of one of our own URLs, for `ours`."""
    parts = urlsplit(url)
    return (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme, 80)


def normalise_host(host: str) -> str:
    """The host in lower-case ASCII; an IPv6 address gets its brackets. Raises TargetError."""
    if ":" in host:
        try:
            if "%" in host:  # a zone (RFC 6874) means something on one machine only
                raise ValueError
            ipaddress.IPv6Address(host)
        except ValueError:
            raise TargetError(f"has no valid host: {host!r}") from None
        return f"[{host.lower()}]"
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True, transitional=False).decode("ascii")
        except idna.IDNAError as error:
            raise TargetError(f"has no valid host: {error}") from error
    labels = host.lower().removesuffix(".").split(".")
    if len(host) > HOST_CHARACTERS_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        raise TargetError(f"has no valid host: {host!r}" if host else "must have a host")
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise TargetError(f"has no valid host: {host!r}") from None
    return host.lower()


def _port_text(netloc: str) -> str:
    """The port as it was written, with its colon."""
    after_host = netloc.rpartition("]")[2] if "]" in netloc else netloc
    _, colon, port = after_host.rpartition(":")
    return f":{port}" if colon and port else ""


def _encode(rest: str) -> str:
    """Path, query and fragment in legal characters."""
    if not (_LONE_PERCENT.search(rest) or _ILLEGAL.search(rest)):
        return rest  # legal: %2f and %2F mean the same, but a signature over the URL may tell them apart
    rest = _LONE_PERCENT.sub("%25", rest)
    rest = _TRIPLET.sub(lambda match: match[0].upper(), rest)
    try:
        return _ILLEGAL.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), rest)
    except UnicodeEncodeError as error:
        raise TargetError("must not contain half a character (a lone surrogate)") from error
