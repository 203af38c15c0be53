"""What the text of a variable means.

In: text that is not empty. Out: a value, or a ValueError that says what is allowed instead.
Pure, but that it looks whether files are there. May import: redis_url.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from app.settings.redis_url import read_redis_place

__all__ = [
    "Network",
    "address",
    "base_url",
    "choice",
    "class_rates",
    "duration",
    "header_fields",
    "host_names",
    "issuer",
    "lasting",
    "matching",
    "mongodb_url",
    "networks",
    "origins",
    "path",
    "per_second",
    "redis_url",
    "share",
    "size",
    "url",
    "whole",
]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

CALL_CLASSES = ("read", "write", "batch", "stats")
_SIZE_UNITS = {
    "": 1,
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KIB": 1024,
    "MIB": 1024**2,
    "GIB": 1024**3,
}
_DURATION_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def size(text: str) -> int:
    """Bytes in `500MB`, `64 GiB` or `1000`."""
    match = re.fullmatch(r"(\d+)\s*([A-Za-z]*)", text.strip())
    if match is None or match[2].upper() not in _SIZE_UNITS:
        raise ValueError("a size such as 500MB or 64GiB")
    return int(match[1]) * _SIZE_UNITS[match[2].upper()]


def duration(text: str) -> int:
    match = re.fullmatch(r"(\d+)\s*([smhd]?)", text.strip())
    if match is None:
        raise ValueError("a duration such as 30s, 10m, 6h or 2d")
    return int(match[1]) * _DURATION_UNITS[match[2]]


def lasting(least: str, most: str | None = None) -> Callable[[str], int]:
    wish = f"a duration of {least} or more" if most is None else f"a duration from {least} to {most}"

    def read(text: str) -> int:
        found = duration(text)
        if found < duration(least) or (most is not None and found > duration(most)):
            raise ValueError(wish)
        return found

    return read


def whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,12}", text.strip()) or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return read


def share(text: str) -> float:
    if not re.fullmatch(r"0|1|0?\.\d{1,9}|1\.0{1,9}", text.strip()):
        raise ValueError("a share from 0 to 1, such as 0.01")
    return float(text)


def choice(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError("one of " + ", ".join(words))
        return text

    return read


def matching(pattern: str, allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text.strip()):
            raise ValueError(allowed)
        return text.strip()

    return read


header_name = matching(r"[A-Za-z0-9-]{1,64}", "a header's name such as CF-IPCountry")
key = matching(r"[\x21-\x7e]{20,200}", "20 to 200 visible ASCII characters")
visible = matching(r"[\x21-\x7e]{1,1000}", "visible ASCII characters")
keep = matching(r"[1-9]\d{0,3}|(?=.)(\d{1,4}d *)?(\d{1,4}w *)?(\d{1,4}m)?", "a count such as 14, or such as 7d 4w 12m")


def address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip().strip("[]")))
    except ValueError:
        raise ValueError("an IP address such as 127.0.0.1, 0.0.0.0 or ::") from None


def url(*schemes: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        try:
            parts = urlsplit(text.strip())
            is_one = text.strip().startswith(tuple(f"{scheme}://" for scheme in schemes))
            is_one = is_one and bool(parts.netloc or parts.path)
            _ = parts.scheme.startswith("mongodb") or parts.port  # MongoDB's names several hosts, each with its port
        except ValueError:
            is_one = False
        if not is_one:
            raise ValueError("a URL that starts with " + " or ".join(f"{scheme}://" for scheme in schemes))
        return text.strip()

    return read


def mongodb_url(text: str) -> str:
    """The driver says "Bad database name" of half a password, so a URL that a password cuts in two is refused here."""
    found = url("mongodb", "mongodb+srv")(text)
    parts = urlsplit(found)
    if "@" in (parts.path or f"{parts.query}{parts.fragment}"):
        raise ValueError("a URL whose user name and password are percent-encoded, as / is %2F and ? is %3F")
    return found


def redis_url(text: str) -> str:
    """Of one server, of sentinels or of a cluster's nodes."""
    if read_redis_place(text.strip()) is not None:
        return text.strip()
    try:
        return url("redis", "rediss", "unix")(text)
    except ValueError:
        schemes = "redis://, rediss:// (TLS), unix://, redis+sentinel:// or redis+cluster://"
        raise ValueError(f"a URL that starts with {schemes}") from None


def issuer(text: str) -> str:
    """As the provider spells it: it is compared character by character."""
    try:
        parts = urlsplit(text.strip())
        is_whole = parts.scheme in ("https", "http") and bool(parts.hostname)
    except ValueError:
        is_whole = False
    if not is_whole or set(text) & set("?#@"):
        raise ValueError("an issuer such as https://login.example.com/realms/staff")
    return text.strip()


def base_url(text: str) -> str:
    try:
        parts = urlsplit(text.strip())
        plain = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
        _ = parts.port
    except ValueError:
        plain = None
    if not plain or parts.path.strip("/") or parts.username is not None:
        raise ValueError("a URL such as https://sho.rt, with no path")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(word.strip(), strict=False) for word in text.split(",") if word.strip())
    except ValueError:
        raise ValueError("a list of addresses or networks such as 10.0.0.0/8, ::1") from None


def origins(text: str) -> tuple[str, ...]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    origins = tuple(word if word == "*" else base_url(word) for word in words)
    if "*" in origins and len(origins) > 1:
        raise ValueError("a list of origins such as https://app.example.com, or * alone")
    return origins


def host_names(text: str) -> tuple[str, ...]:
    words = tuple(word.strip().lower() for word in text.split(",") if word.strip())
    if words != ("*",) and not all(re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", word) for word in words):
        raise ValueError("a list of domains such as example.com, example.org, or * alone")
    return words


def class_rates(text: str) -> Mapping[str, int]:
    """Of classes of calls: {"write": 100} for `write=100/s`."""
    pairs = [[part.strip() for part in word.split("=")] for word in text.split(",") if text.strip() != "off"]
    try:
        rates = {name: per_second(rate) for name, rate in pairs}
    except ValueError:
        rates = {"": None}
    if not set(rates) <= set(CALL_CLASSES) or len(rates) < len(pairs):
        raise ValueError(f"a list such as write=100/s, batch=5/s (of {', '.join(CALL_CLASSES)}), or off")
    return {name: rate for name, rate in rates.items() if rate is not None}


def per_second(text: str) -> int | None:
    match = re.fullmatch(r"(\d{1,6})\s*/\s*s", text.strip())
    if text.strip() == "off":
        return None
    if match is None or not int(match[1]):
        raise ValueError("a rate such as 500/s, or off")
    return int(match[1])


def header_fields(text: str) -> tuple[tuple[str, str], ...]:
    """OpenTelemetry's form of headers: `name=value,name=value`, values percent-encoded."""
    pairs = [word.partition("=") for word in text.split(",") if word.strip()]
    fields = tuple((name.strip(), unquote(value.strip())) for name, _, value in pairs)
    if not all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) and re.fullmatch(r"[ -~]+", value) for name, value in fields):
        raise ValueError("a list of headers such as name=value,name=value")
    return fields


def path(text: str) -> Path:
    if not text.strip() or "\0" in text:
        raise ValueError("a path")
    return Path(text).expanduser().absolute()
