"""Every `BOLTLINK_*` variable: its name, type, default and meaning, checked once at start.

In: a mapping of environment variables, and the file of further ones that it may name; the mapping wins. Out: one frozen
`Settings`, handed down by whoever starts a program. Every program reads the file at its own start, so what is changed
there is in effect after `boltlink reload`.
A wrong value raises `SettingsError`, which every program prints as one line before it exits with status 2.
Also here, because every room needs them and they are not data: the names that are never slugs.
May import: the standard library.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["RESERVED_SEGMENTS", "Settings", "SettingsError", "parse_size"]

#: First path segments that belong to the program itself; compared in lower case, never slugs.
RESERVED_SEGMENTS = frozenset(
    {
        "api",
        "batch",
        "dashboard",
        "health",
        "ready",
        "docs",
        "static",
        "metrics",
        "login",
        "logout",
        "robots.txt",
        "favicon.ico",
        "sitemap.xml",
        ".well-known",
        "_",
    }
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

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


class SettingsError(ValueError):
    """A variable that cannot be used: `variable`, the `value` as given and what is `allowed`."""

    def __init__(self, variable: str, value: str, allowed: str) -> None:
        super().__init__(f"{variable}: {value!r} is not {allowed}")
        self.variable = variable
        self.value = value
        self.allowed = allowed


def parse_size(text: str) -> int:
    """Bytes in `500MB`, `64 GiB` or `1000`. Raises ValueError."""
    match = re.fullmatch(r"(\d+)\s*([A-Za-z]*)", text.strip())
    if match is None or match[2].upper() not in _SIZE_UNITS:
        raise ValueError("a size such as 500MB or 64GiB")
    return int(match[1]) * _SIZE_UNITS[match[2].upper()]


def _duration(text: str) -> int:
    match = re.fullmatch(r"(\d+)\s*([smhd]?)", text.strip())
    if match is None:
        raise ValueError("a duration such as 30s, 10m, 6h or 2d")
    return int(match[1]) * _DURATION_UNITS[match[2]]


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,12}", text.strip()) or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return parse


def _choice(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError("one of " + ", ".join(words))
        return text

    return parse


def _matching(pattern: str, allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text.strip()):
            raise ValueError(allowed)
        return text.strip()

    return parse


_header_name = _matching(r"[A-Za-z0-9-]{1,64}", "a header's name such as CF-IPCountry")
_key = _matching(r"[\x21-\x7e]{20,200}", "20 to 200 visible ASCII characters")
_keep = _matching(
    r"[1-9]\d{0,3}|(?=.)(\d{1,4}d *)?(\d{1,4}w *)?(\d{1,4}m)?", "a count such as 14, or such as 7d 4w 12m"
)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip().strip("[]")))
    except ValueError:
        raise ValueError("an IP address such as 127.0.0.1, 0.0.0.0 or ::") from None


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        parts = urlsplit(text.strip())
        if parts.scheme not in schemes or not (parts.netloc or parts.path):
            raise ValueError("a URL that starts with " + " or ".join(f"{scheme}://" for scheme in schemes))
        return text.strip()

    return parse


def _base_url(text: str) -> str:
    try:
        parts = urlsplit(text.strip())
        plain = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
        _ = parts.port
    except ValueError:
        plain = None
    if not plain or parts.path.strip("/") or parts.username is not None:
        raise ValueError("a URL such as https://sho.rt, with no path")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(word.strip(), strict=False) for word in text.split(",") if word.strip())
    except ValueError:
        raise ValueError("a list of addresses or networks such as 10.0.0.0/8, ::1") from None


def _origins(text: str) -> tuple[str, ...]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    origins = tuple(word if word == "*" else _base_url(word) for word in words)
    if "*" in origins and len(origins) > 1:
        raise ValueError("a list of origins such as https://app.example.com, or * alone")
    return origins


def _per_second(text: str) -> int | None:
    match = re.fullmatch(r"(\d{1,6})\s*/\s*s", text.strip())
    if text.strip() == "off":
        return None
    if match is None or not int(match[1]):
        raise ValueError("a rate such as 500/s, or off")
    return int(match[1])


def _path(text: str) -> Path:
    if not text.strip() or "\0" in text:
        raise ValueError("a path")
    return Path(text).expanduser().absolute()


def _setting(
    variable: str, parse: Callable[[str], Any], default: str | None, meaning: str, *, secret: bool = False
) -> Any:
    """One row of the table; `default` is what the variable would hold, None means unset."""
    return field(
        metadata={
            "variable": variable,
            "parse": parse,
            "default": default,
            "meaning": meaning,
            "secret": secret,
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one program was told. Paths are absolute, sizes in bytes, durations in seconds."""

    host: str = _setting("BOLTLINK_HOST", _address, "127.0.0.1", "address that the web processes listen on")
    port: int = _setting("BOLTLINK_PORT", _whole(1, 65535), "8000", "port that all web processes share")
    metrics_host: str = _setting("BOLTLINK_METRICS_HOST", _address, "127.0.0.1", "address of /metrics")
    metrics_port: int = _setting("BOLTLINK_METRICS_PORT", _whole(1, 65535), "8001", "port of /metrics")
    base_url: str | None = _setting(
        "BOLTLINK_BASE_URL", _base_url, None, "what short links start with; unset: http://HOST:PORT"
    )
    state_dir: Path = _setting("BOLTLINK_STATE_DIR", _path, "./var", "folder of everything that outlives a process")
    web_processes: int | None = _setting(
        "BOLTLINK_WEB_PROCESSES", _whole(1, 512), None, "web processes; unset: one per CPU granted, at least 2"
    )
    redis_url: str | None = _setting(
        "BOLTLINK_REDIS_URL",
        _url("redis", "rediss", "unix"),
        None,
        "Redis; unset: an embedded redis-server",
        secret=True,
    )
    mongodb_url: str | None = _setting(
        "BOLTLINK_MONGODB_URL",
        _url("mongodb", "mongodb+srv"),
        None,
        "MongoDB (a replica set); unset: an embedded mongod",
        secret=True,
    )
    redis_server: Path | None = _setting(
        "BOLTLINK_REDIS_SERVER",
        _path,
        None,
        "the redis-server to embed; unset: the installed wheel's, then PATH",
    )
    mongod: Path | None = _setting(
        "BOLTLINK_MONGOD", _path, None, "the mongod to embed; unset: the installed wheel's, then PATH"
    )
    trusted_proxies: tuple[Network, ...] = _setting(
        "BOLTLINK_TRUSTED_PROXIES", _networks, "", "addresses whose X-Forwarded-For and Forwarded are believed"
    )
    unknown_hosts: str = _setting(
        "BOLTLINK_UNKNOWN_HOSTS",
        _choice("default", "404"),
        "default",
        "a Host that is no domain of ours: the default domain, or 404",
    )
    stale_max: int = _setting(
        "BOLTLINK_STALE_MAX",
        _duration,
        "6h",
        "how long expired cache entries are served while stores are away",
    )
    hot_links: int = _setting(
        "BOLTLINK_HOT_LINKS", _whole(100, 100_000_000), "100000", "links kept in each web process's memory"
    )
    geoip_db: Path | None = _setting("BOLTLINK_GEOIP_DB", _path, None, "MMDB file that maps addresses to countries")
    country_header: str | None = _setting(
        "BOLTLINK_COUNTRY_HEADER",
        _header_name,
        None,
        "header with the visitor's country, believed from trusted proxies: CF-IPCountry behind Cloudflare",
    )
    excluded_networks: tuple[Network, ...] = _setting(
        "BOLTLINK_EXCLUDED_NETWORKS",
        _networks,
        "",
        "addresses whose requests are no clicks, such as your own: counted apart",
    )
    aggregators: int = _setting("BOLTLINK_AGGREGATORS", _whole(1, 64), "1", "aggregator processes of this node")
    days_kept: int = _setting(
        "BOLTLINK_DAYS_KEPT",
        _whole(1, 36_500),
        "400",
        "days for which statistics are kept to the minute; older ones are kept by quarters of an hour and months",
    )
    months_kept: int | None = _setting(
        "BOLTLINK_MONTHS_KEPT", _whole(1, 1_200), None, "months for which statistics are kept at all; unset: for ever"
    )
    deleted_kept: int = _setting(
        "BOLTLINK_DELETED_KEPT",
        _duration,
        "30d",
        "how long a deleted link can be restored and keeps its slug; 0: its slug is free at once",
    )
    session_idle: int = _setting("BOLTLINK_SESSION_IDLE", _duration, "12h", "how long a sign-in lives unused")
    session_life: int = _setting("BOLTLINK_SESSION_LIFE", _duration, "30d", "how long a sign-in lives at all")
    password_cost: int = _setting("BOLTLINK_PASSWORD_COST", _whole(4, 16), "12", "bcrypt's cost of users' passwords")
    audit_days_kept: int = _setting(
        "BOLTLINK_AUDIT_DAYS_KEPT", _whole(1, 36_500), "400", "days for which the audit log is kept"
    )
    audit_addresses: str = _setting(
        "BOLTLINK_AUDIT_ADDRESSES", _choice("on", "off"), "off", "whether the audit log holds the addresses of clients"
    )
    backup_dir: Path | None = _setting(
        "BOLTLINK_BACKUP_DIR", _path, None, "folder that backups are written to on a schedule; unset: none are"
    )
    backup_every: int = _setting("BOLTLINK_BACKUP_EVERY", _duration, "1d", "time between two such backups")
    backup_keep: str = _setting(
        "BOLTLINK_BACKUP_KEEP", _keep, "7d 4w 12m", "how many are kept: a count, or one a day, week and month"
    )
    memory_limit: int = _setting(
        "BOLTLINK_MEMORY_LIMIT", parse_size, "500MB", "a web process or worker above this is restarted"
    )
    admin_key: str | None = _setting(
        "BOLTLINK_ADMIN_KEY",
        _key,
        None,
        "admin API key created at first start; unset: made, kept in STATE/admin-key",
        secret=True,
    )
    log_level: str = _setting(
        "BOLTLINK_LOG_LEVEL",
        _choice("debug", "info", "warning", "error"),
        "info",
        "least severe level that is logged",
    )
    api_rate: int | None = _setting(
        "BOLTLINK_API_RATE",
        _per_second,
        "5000/s",
        "API requests of a key, over all nodes, ten seconds' worth at once; statistics cost 5, a batch 10; or off",
    )
    unknown_rate: int | None = _setting(
        "BOLTLINK_UNKNOWN_RATE",
        _per_second,
        "20/s",
        "short links that do not exist, of an address in each process; or off",
    )
    cors_origins: tuple[str, ...] = _setting(
        "BOLTLINK_CORS_ORIGINS",
        _origins,
        "",
        "origins whose pages may call the API with a key, such as https://app.example.com; * for all",
    )
    settings_file: Path | None = _setting(
        "BOLTLINK_SETTINGS_FILE", _path, None, "file with further settings, one NAME=value a line; the environment wins"
    )
    url: str | None = _setting(
        "BOLTLINK_URL", _base_url, None, "instance that the command line talks to; unset: the local one"
    )
    api_key: str | None = _setting(
        "BOLTLINK_API_KEY", _key, None, "API key of the command line; unset: STATE/admin-key", secret=True
    )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Reads every variable; an empty one counts as unset. Raises SettingsError at a wrong one."""
        named = environ.get("BOLTLINK_SETTINGS_FILE")
        given = _read_file(_path(named), {row.metadata["variable"]: row for row in fields(cls)}) if named else {}
        given |= {variable: text for variable, text in environ.items() if text}
        return cls(**{row.name: _read(row, given) for row in fields(cls)})

    @classmethod
    def table(cls) -> list[dict[str, Any]]:
        """One row per variable: field, variable, default (as text, None: unset), meaning, secret."""
        return [
            {
                "field": row.name,
                **{key: row.metadata[key] for key in ("variable", "default", "meaning", "secret")},
            }
            for row in fields(cls)
        ]

    @property
    def public_url(self) -> str:
        """What short links start with: no trailing slash."""
        if self.base_url is not None:
            return self.base_url
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


def _read(row: Field[Any], environ: Mapping[str, str]) -> Any:
    variable = row.metadata["variable"]
    text = environ.get(variable) or row.metadata["default"]
    if not text:
        return () if row.metadata["default"] == "" else None
    try:
        return row.metadata["parse"](text)
    except ValueError as error:
        shown = "(hidden)" if row.metadata["secret"] else text
        raise SettingsError(variable, shown, str(error)) from None


def _read_file(path: Path, rows: Mapping[str, Field[Any]]) -> dict[str, str]:
    """NAME=value lines, with # comments and quotes as systemd's EnvironmentFile has them; paths are made absolute."""
    try:
        text = path.read_text("utf-8")
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8"
        raise SettingsError("BOLTLINK_SETTINGS_FILE", str(path), f"a file that can be read ({reason})") from None
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        variable, is_set, value = (word.strip() for word in line.partition("="))
        if not variable or variable.startswith("#"):
            continue
        row = rows.get(variable)
        if row is None or not is_set or variable == "BOLTLINK_SETTINGS_FILE":
            raise SettingsError(f"{path}, line {number}", variable, "a setting and its value, BOLTLINK_NAME=value")
        if row.metadata["secret"] and mode & 0o007:
            raise SettingsError(variable, "(hidden)", f"safe in {path}, which everyone may read: chmod o= it")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        is_path = row.metadata["parse"] is _path and value
        found[variable] = str(path.parent / Path(value).expanduser()) if is_path else value
    return found
