"""Reads the addresses of a Redis of several servers: Sentinel's and a Cluster's.

In: the text of BOLTLINK_REDIS_URL. Out: a `RedisPlace`; None for a single server, whose URL redis-py reads itself.

    redis+sentinel://[user:password@]sentinel-1[:26379],sentinel-2/service[/db][?options]
    redis+cluster://[user:password@]node-1[:6379],node-2/[?options]
    rediss+…://      the same over TLS, to sentinels too

User and password are those of the Redis servers; sentinels have their own, in the options `sentinel_username` and
`sentinel_password`. What stands in a part of a URL may be percent-encoded. No error repeats what was given: it may
hold a password. May import: the standard library.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote

__all__ = ["Address", "RedisPlace", "read_redis_place"]

Address = tuple[str, int]

SENTINEL_PORT, REDIS_PORT = 26379, 6379
KINDS = ("sentinel", "cluster")
HOSTS_MAX = 100
DATABASES_MAX = 10_000
#: Of TLS, as redis-py names them; `required` and a checked host name are the defaults.
TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SCHEME = re.compile(r"(rediss?)\+([a-z]+)://")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """Where several servers are.

    Attributes:
        kind: "sentinel" or "cluster".
        hosts: of sentinels, or of some of the cluster's nodes.
        service: what the sentinels call the primary.
        tls: options of TLS for redis-py; None: no TLS.
    """

    kind: str
    hosts: tuple[Address, ...]
    service: str
    database: int
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)
    sentinel_username: str | None = field(repr=False)
    sentinel_password: str | None = field(repr=False)
    tls: Mapping[str, str | bool] | None


def read_redis_place(text: str) -> RedisPlace | None:
    """Where the servers of a URL are; None when it names a single one. Raises ValueError: what a URL has to be."""
    found = _SCHEME.match(text)
    if found is None:
        return None
    is_tls, kind = found[1] == "rediss", found[2]
    if kind not in KINDS:
        raise ValueError("a URL that starts with redis+sentinel:// or redis+cluster:// (rediss+… over TLS)")
    rest, _, query = text[found.end() :].partition("?")
    authority, _, path = rest.partition("/")
    login, _, hosts = authority.rpartition("@")
    username, _, password = login.partition(":")
    service, database = _path_of(kind, path)
    options = _options_of(kind, query, is_tls=is_tls)
    return RedisPlace(
        kind=kind,
        hosts=_hosts_of(kind, hosts),
        service=service,
        database=database,
        username=unquote(username) or None,
        password=unquote(password) or None,
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
        tls=_tls_of(options) if is_tls else None,
    )


def _hosts_of(kind: str, text: str) -> tuple[Address, ...]:
    usual = SENTINEL_PORT if kind == "sentinel" else REDIS_PORT
    matches = [_HOST.fullmatch(word) for word in text.split(",")]
    found = [(match[1].strip("[]"), int(match[2] or usual)) for match in matches if match is not None]
    if len(found) < len(matches) or not all(0 < port < 65536 for _, port in found):
        raise ValueError(f"a redis+{kind} URL with hosts such as redis-1:{usual},redis-2:{usual} after ://")
    if len(set(found)) < len(found) or len(found) > HOSTS_MAX:
        raise ValueError(f"a redis+{kind} URL that names each host once, {HOSTS_MAX} at most")
    return tuple(found)


def _path_of(kind: str, path: str) -> tuple[str, int]:
    """Service and database."""
    if kind == "cluster":
        if path not in ("", "0"):
            raise ValueError("a redis+cluster URL with no path: a cluster has database 0 alone")
        return "", 0
    service, _, database = path.partition("/")
    if not re.fullmatch(r"[A-Za-z0-9._-]+", unquote(service)):
        raise ValueError(
            "a redis+sentinel URL whose path names the service, as in redis+sentinel://host:26379/boltlink"
        )
    if not re.fullmatch(r"\d{0,5}", database) or int(database or 0) >= DATABASES_MAX:
        raise ValueError("a redis+sentinel URL whose path is /service or /service/database, the latter a number")
    return unquote(service), int(database or 0)


def _options_of(kind: str, query: str, *, is_tls: bool) -> dict[str, str]:
    allowed = (*(SENTINEL_OPTIONS if kind == "sentinel" else ()), *(TLS_OPTIONS if is_tls else ()))
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        pairs = [("", "")]
    options = dict(pairs)
    if len(options) < len(pairs) or not options.keys() <= set(allowed):
        scheme = f"redis{'s' * is_tls}+{kind}"
        raise ValueError(
            f"a {scheme} URL with no option but {', '.join(allowed)}" if allowed else f"a {scheme} URL with no options"
        )
    return options


def _tls_of(options: Mapping[str, str]) -> Mapping[str, str | bool]:
    found: dict[str, str | bool] = {name: options[name] for name in TLS_OPTIONS if name in options}
    if found.get("ssl_cert_reqs", "required") not in ("required", "optional", "none"):
        raise ValueError("a URL whose ssl_cert_reqs is required, optional or none")
    if found.get("ssl_check_hostname", "true") not in ("true", "false"):
        raise ValueError("a URL whose ssl_check_hostname is true or false")
    for name in FILES:
        if name in found and not Path(options[name]).is_file():
            raise ValueError(f"a URL whose {name} is a file that can be read")
    is_checked = found.get("ssl_check_hostname", "true") == "true" and found.get("ssl_cert_reqs") != "none"
    return {**found, "ssl_check_hostname": is_checked}
