"""Looks at settings: names that nobody reads, values that cannot be read, and those that contradict each other.

In: an environment, settings. Out: findings. May import: settings.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from app.cli.doctor.findings import Finding, ok, warn
from app.settings import Settings

__all__ = ["about_names", "about_settings"]

#: What `boltlink up` sets for supervisord.conf; it reaches whoever is started from a program of the tree.
GIVEN_BY_UP = {
    *("BOLTLINK_PYTHON", "BOLTLINK_RUN_DIR", "BOLTLINK_LOG_DIR"),
    *("BOLTLINK_NUM_WEB", "BOLTLINK_NUM_AGGREGATORS", "BOLTLINK_NUM_JOBS", "BOLTLINK_INCLUDE"),
}
DAYS_OF_MONTH_MAX = 31
BYTES_PER_HOT_LINK = 250  # 170 with short targets: 223 MB with a million links, 71 with 100,000 (docs/performance.md)
WEB_BYTES = 60_000_000  # of a web process that knows no link


def about_names(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Variables that look like settings and are none."""
    known = {row["variable"] for row in Settings.table()}
    unknown = sorted(name for name in environ if name.startswith("BOLTLINK_") and name not in known | GIVEN_BY_UP)
    for name in unknown:
        close = difflib.get_close_matches(name, known, 1, 0.75)
        hint = f"did you mean {close[0]}?" if close else "docs/operations.md lists all settings"
        yield warn("settings.names", f"{name} is no setting", "Nothing reads it.", f"Unset it; {hint}")
    if not unknown:
        yield ok("settings.names", "no unknown BOLTLINK_* variable")


def about_settings(settings: Settings) -> Iterator[Finding]:
    """Settings that go ill together."""
    found = [warn("settings.together", *words) for words in _contradictions(settings)]
    yield from found or [ok("settings.together", "no contradiction")]


def _contradictions(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """(what is so, what comes of it, what to do)."""
    if settings.port == settings.metrics_port and settings.host == settings.metrics_host:
        found = f"BOLTLINK_PORT and BOLTLINK_METRICS_PORT are both {settings.port}"
        yield found, "One of them cannot be listened on.", "Choose another BOLTLINK_METRICS_PORT."
    for name, chosen, url in (
        ("REDIS_SERVER", settings.redis_server, settings.redis_url and "REDIS_URL"),
        ("MONGOD", settings.mongod, settings.mongodb_url and "MONGODB_URL"),
    ):
        if chosen and url:
            yield f"BOLTLINK_{name} and BOLTLINK_{url} are both set", "No engine is embedded.", "Unset one of them."
    if settings.country_header and not settings.trusted_proxies:
        found = "BOLTLINK_COUNTRY_HEADER is set, BOLTLINK_TRUSTED_PROXIES is not"
        yield found, "The header is believed from nobody.", "Name your proxies' addresses."
    if settings.months_kept is not None and settings.days_kept > settings.months_kept * DAYS_OF_MONTH_MAX:
        found = (
            f"BOLTLINK_DAYS_KEPT ({settings.days_kept}) is longer than BOLTLINK_MONTHS_KEPT ({settings.months_kept})"
        )
        yield found, "Days are kept of which the month is gone.", "Raise BOLTLINK_MONTHS_KEPT, or lower the days."
    if settings.geoip_db is not None and not settings.geoip_db.is_file():
        yield f"BOLTLINK_GEOIP_DB: {settings.geoip_db} is no file", "Countries stay unknown.", "Put the file there."
    needed = WEB_BYTES + settings.hot_links * BYTES_PER_HOT_LINK
    if settings.memory_limit < needed:
        limit = f"BOLTLINK_MEMORY_LIMIT is {settings.memory_limit / 1e6:.0f}"
        found = f"BOLTLINK_HOT_LINKS may take {needed / 1e6:.0f} MB, {limit}"
        yield found, "Web processes are restarted when their memory has filled.", "Raise the limit, or keep fewer."
    yield from _exposures(settings)


def _exposures(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """What others may see, and how visitors come."""
    if not ipaddress.ip_address(settings.metrics_host).is_loopback:
        found = f"/metrics is open on {settings.metrics_host}"
        yield found, "Whoever reaches this address reads it without a key.", "Let a firewall keep others away."
    if not ipaddress.ip_address(settings.host).is_loopback and settings.base_url is None:
        found = f"BOLTLINK_HOST is {settings.host}, BOLTLINK_BASE_URL is not set"
        yield found, f"Short links start with {settings.public_url}.", "Set it to the address that visitors use."
    is_https = settings.base_url is not None and urlsplit(settings.base_url).scheme == "https"
    if is_https and not settings.trusted_proxies:
        found = "BOLTLINK_BASE_URL is https, so a proxy is in front, and BOLTLINK_TRUSTED_PROXIES is not set"
        yield found, "All visitors seem to have the proxy's address.", "Name its address."
