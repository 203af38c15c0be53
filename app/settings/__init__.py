"""Every `BOLTLINK_*` variable: its name, type, default and meaning, checked once at start.

In: a mapping of environment variables, and the file of further ones that it may name. Out: one frozen `Settings`,
handed down by whoever starts a program. Every program reads the file at its own start, so what is changed there is in
effect after `boltlink reload`.
A wrong value raises `SettingsError`, which every program prints as one line before it exits with status 2.
Also here, because every room needs them and they are not data: the names that are never slugs.

    variables   the table
    parse       what a text means
    redis_url   where the servers of a Sentinel or a Cluster are
    reading     environment and file -> Settings

May import: the standard library.
"""

from app.settings.parse import size as parse_size
from app.settings.reading import Settings, SettingsError
from app.settings.redis_url import Address, RedisPlace, read_redis_place

__all__ = [
    "RESERVED_SEGMENTS",
    "Address",
    "RedisPlace",
    "Settings",
    "SettingsError",
    "parse_size",
    "read_redis_place",
]

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
