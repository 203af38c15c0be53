"""The variables, a group a class: name, type, default and meaning of each.

In: nothing. Out: fields, whose metadata `reading` reads. A new variable is one more row here, and one in
docs/operations.md; its text is judged by `parse`. May import: parse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.settings import parse
from app.settings.parse import Network

__all__ = ["Api", "Backups", "Clicks", "Jobs", "Running", "Serving", "SignIn", "Stores", "Traces"]


def setting(
    variable: str, parser: Callable[[str], Any], default: str | None, meaning: str, *, secret: bool = False
) -> Any:
    """One row of the table; `default` is what the variable would hold, None means unset."""
    return field(
        metadata={
            "variable": variable,
            "parse": parser,
            "default": default,
            "meaning": meaning,
            "secret": secret,
        }
    )


@dataclass(frozen=True, kw_only=True)
class Serving:
    """Where requests come from, and where they are answered."""

    host: str = setting("BOLTLINK_HOST", parse.address, "127.0.0.1", "address that the web processes listen on")
    port: int = setting("BOLTLINK_PORT", parse.whole(1, 65535), "8000", "port that all web processes share")
    metrics_host: str = setting("BOLTLINK_METRICS_HOST", parse.address, "127.0.0.1", "address of /metrics")
    metrics_port: int = setting("BOLTLINK_METRICS_PORT", parse.whole(1, 65535), "8001", "port of /metrics")
    base_url: str | None = setting(
        "BOLTLINK_BASE_URL", parse.base_url, None, "what short links start with; unset: http://HOST:PORT"
    )
    web_processes: int | None = setting(
        "BOLTLINK_WEB_PROCESSES", parse.whole(1, 512), None, "web processes; unset: one per CPU granted, at least 2"
    )
    trusted_proxies: tuple[Network, ...] = setting(
        "BOLTLINK_TRUSTED_PROXIES", parse.networks, "", "addresses whose X-Forwarded-For and Forwarded are believed"
    )
    proxy_sockets: Path | None = setting(
        "BOLTLINK_PROXY_SOCKETS",
        parse.path,
        None,
        "folder where each web process also listens, as web_N.sock, for a proxy of its group; unset: none do",
    )
    unknown_hosts: str = setting(
        "BOLTLINK_UNKNOWN_HOSTS",
        parse.choice("default", "404"),
        "default",
        "a Host that is no domain of ours: the default domain, or 404",
    )
    hot_links: int = setting(
        "BOLTLINK_HOT_LINKS", parse.whole(100, 100_000_000), "100000", "links kept in each web process's memory"
    )
    stale_max: int = setting(
        "BOLTLINK_STALE_MAX",
        parse.duration,
        "6h",
        "how long expired cache entries are served while stores are away",
    )
    unknown_rate: int | None = setting(
        "BOLTLINK_UNKNOWN_RATE",
        parse.per_second,
        "20/s",
        "short links that do not exist, of an address in each process; or off",
    )


@dataclass(frozen=True, kw_only=True)
class Stores:
    """Where everything is kept."""

    state_dir: Path = setting("BOLTLINK_STATE_DIR", parse.path, "./var", "folder of everything that outlives a process")
    redis_url: str | None = setting(
        "BOLTLINK_REDIS_URL",
        parse.redis_url,
        None,
        "Redis, one server, sentinels (redis+sentinel://) or a cluster (redis+cluster://); unset: an embedded one",
        secret=True,
    )
    mongodb_url: str | None = setting(
        "BOLTLINK_MONGODB_URL",
        parse.mongodb_url,
        None,
        "MongoDB (a replica set); unset: an embedded mongod",
        secret=True,
    )
    redis_server: Path | None = setting(
        "BOLTLINK_REDIS_SERVER",
        parse.path,
        None,
        "the redis-server to embed; unset: the installed wheel's, then PATH",
    )
    mongod: Path | None = setting(
        "BOLTLINK_MONGOD", parse.path, None, "the mongod to embed; unset: the installed wheel's, then PATH"
    )
    deleted_kept: int = setting(
        "BOLTLINK_DELETED_KEPT",
        parse.duration,
        "30d",
        "how long a deleted link can be restored and keeps its slug; 0: its slug is free at once",
    )


@dataclass(frozen=True, kw_only=True)
class Clicks:
    """What is counted, and for how long."""

    aggregators: int = setting("BOLTLINK_AGGREGATORS", parse.whole(1, 64), "1", "aggregator processes of this node")
    geoip_db: Path | None = setting("BOLTLINK_GEOIP_DB", parse.path, None, "MMDB file that maps addresses to countries")
    country_header: str | None = setting(
        "BOLTLINK_COUNTRY_HEADER",
        parse.header_name,
        None,
        "header with the visitor's country, believed from trusted proxies: CF-IPCountry behind Cloudflare",
    )
    excluded_networks: tuple[Network, ...] = setting(
        "BOLTLINK_EXCLUDED_NETWORKS",
        parse.networks,
        "",
        "addresses whose requests are no clicks, such as your own: counted apart",
    )
    days_kept: int = setting(
        "BOLTLINK_DAYS_KEPT",
        parse.whole(1, 36_500),
        "400",
        "days for which statistics are kept to the minute; older ones are kept by quarters of an hour and months",
    )
    months_kept: int | None = setting(
        "BOLTLINK_MONTHS_KEPT",
        parse.whole(1, 1_200),
        None,
        "months for which statistics are kept at all; unset: for ever",
    )


@dataclass(frozen=True, kw_only=True)
class Api:
    """Who may call the API, and how much."""

    admin_key: str | None = setting(
        "BOLTLINK_ADMIN_KEY",
        parse.key,
        None,
        "admin API key created at first start; unset: made, kept in STATE/admin-key",
        secret=True,
    )
    api_rate: int | None = setting(
        "BOLTLINK_API_RATE",
        parse.per_second,
        "5000/s",
        "API requests of a key, over all nodes, ten seconds' worth at once; statistics cost 5, a batch 10; or off",
    )
    class_rates: Mapping[str, int] = setting(
        "BOLTLINK_CLASS_RATES",
        parse.class_rates,
        "write=2500/s, batch=250/s, stats=500/s",
        "further limits of a key, for its calls of a class: read, write, batch, stats; or off",
    )
    anonymous_rate: int | None = setting(
        "BOLTLINK_ANONYMOUS_RATE",
        parse.per_second,
        "20/s",
        "API requests without a key, of an address over all nodes, ten seconds' worth at once; or off",
    )
    cors_origins: tuple[str, ...] = setting(
        "BOLTLINK_CORS_ORIGINS",
        parse.origins,
        "",
        "origins whose pages may call the API with a key, such as https://app.example.com; * for all",
    )
    session_idle: int = setting("BOLTLINK_SESSION_IDLE", parse.lasting("1s"), "12h", "how long a sign-in lives unused")
    session_life: int = setting("BOLTLINK_SESSION_LIFE", parse.lasting("1s"), "30d", "how long a sign-in lives at all")
    password_cost: int = setting(
        "BOLTLINK_PASSWORD_COST", parse.whole(4, 16), "12", "bcrypt's cost of users' passwords"
    )
    audit_days_kept: int = setting(
        "BOLTLINK_AUDIT_DAYS_KEPT", parse.whole(1, 36_500), "400", "days for which the audit log is kept"
    )
    audit_addresses: str = setting(
        "BOLTLINK_AUDIT_ADDRESSES",
        parse.choice("on", "off"),
        "off",
        "whether the audit log and the access log hold the addresses of clients",
    )


@dataclass(frozen=True, kw_only=True)
class SignIn:
    """Signing in by an identity provider (OpenID Connect)."""

    oidc_issuer: str | None = setting(
        "BOLTLINK_OIDC_ISSUER", parse.issuer, None, "identity provider that people may sign in by; unset: none"
    )
    oidc_client_id: str | None = setting(
        "BOLTLINK_OIDC_CLIENT_ID", parse.visible, None, "what the provider knows this instance as"
    )
    oidc_client_secret: str | None = setting(
        "BOLTLINK_OIDC_CLIENT_SECRET",
        parse.visible,
        None,
        "secret that it gave this instance; unset: the file's, or none",
        secret=True,
    )
    oidc_client_secret_file: Path | None = setting(
        "BOLTLINK_OIDC_CLIENT_SECRET_FILE", parse.path, None, "file that holds this secret, read at each sign-in"
    )
    oidc_create_domains: tuple[str, ...] = setting(
        "BOLTLINK_OIDC_CREATE_DOMAINS",
        parse.host_names,
        "",
        "e-mail domains of which a user is made at their first sign-in by the provider; * for all, unset: none is",
    )
    oidc_role: str = setting(
        "BOLTLINK_OIDC_ROLE", parse.choice("viewer", "editor"), "viewer", "role of users that are made so"
    )
    oidc_http: str = setting(
        "BOLTLINK_OIDC_HTTP",
        parse.choice("on", "off"),
        "off",
        "whether a provider on this machine may be asked without TLS, to try it",
    )


@dataclass(frozen=True, kw_only=True)
class Backups:
    """Backups that are made on a schedule."""

    backup_dir: Path | None = setting(
        "BOLTLINK_BACKUP_DIR", parse.path, None, "folder that backups are written to on a schedule; unset: none are"
    )
    backup_every: int = setting("BOLTLINK_BACKUP_EVERY", parse.lasting("60s"), "1d", "time between two such backups")
    backup_keep: str = setting(
        "BOLTLINK_BACKUP_KEEP", parse.keep, "7d 4w 12m", "how many are kept: a count, or one a day, week and month"
    )


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Work behind requests."""

    jobs: int = setting("BOLTLINK_JOBS", parse.whole(1, 64), "1", "programs of this node that do background jobs")
    jobs_kept: int = setting(
        "BOLTLINK_JOBS_KEPT", parse.duration, "3d", "how long a job that is done can be looked at, and done again"
    )
    webhooks_max: int = setting("BOLTLINK_WEBHOOKS_MAX", parse.whole(0, 1000), "20", "webhooks of one key or user")
    webhook_http: str = setting(
        "BOLTLINK_WEBHOOK_HTTP",
        parse.choice("on", "off"),
        "off",
        "whether webhooks may have URLs without TLS: what changed then travels in clear text",
    )
    webhook_networks: tuple[Network, ...] = setting(
        "BOLTLINK_WEBHOOK_NETWORKS",
        parse.networks,
        "",
        "networks that webhooks may lead to, and pages of links be asked in, though they are not public, such as "
        "10.0.0.0/8",
    )
    titles: str = setting(
        "BOLTLINK_TITLES",
        parse.choice("on", "off"),
        "off",
        "whether a new link without a title gets that of its page, which is asked for it then",
    )
    checks: str = setting(
        "BOLTLINK_CHECKS",
        parse.choice("on", "off"),
        "off",
        "whether the page of each link is asked for now and then, to find links whose page is gone",
    )
    checks_every: int = setting(
        "BOLTLINK_CHECKS_EVERY",
        parse.lasting("1d", "90d"),
        "7d",
        "time within which each of them is asked for once",
    )


@dataclass(frozen=True, kw_only=True)
class Traces:
    """Where traces go; the names are OpenTelemetry's, so whatever sets them for other programs does for this one."""

    otlp_endpoint: str | None = setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        parse.url("http", "https"),
        None,
        "collector that traces are sent to (OTLP over HTTP), such as http://localhost:4318; unset: none are made",
    )
    otlp_traces_endpoint: str | None = setting(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        parse.url("http", "https"),
        None,
        "the same with its path, if that is not /v1/traces",
    )
    otlp_headers: tuple[tuple[str, str], ...] = setting(
        "OTEL_EXPORTER_OTLP_HEADERS", parse.header_fields, "", "headers for the collector: name=value,…", secret=True
    )
    traces_sampler: str = setting(
        "OTEL_TRACES_SAMPLER",
        parse.choice(
            *("always_on", "always_off", "traceidratio"),
            *("parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"),
        ),
        "parentbased_always_on",
        "which traces are recorded",
    )
    traces_share: float = setting(
        "OTEL_TRACES_SAMPLER_ARG", parse.share, "1", "share of them, for the samplers that are called traceidratio"
    )


@dataclass(frozen=True, kw_only=True)
class Running:
    """The programs themselves, and the command line."""

    settings_file: Path | None = setting(
        "BOLTLINK_SETTINGS_FILE",
        parse.path,
        None,
        "file with further settings, one NAME=value a line; the environment wins",
    )
    log_level: str = setting(
        "BOLTLINK_LOG_LEVEL",
        parse.choice("debug", "info", "warning", "error"),
        "info",
        "least severe level that is logged",
    )
    access_log_sample: float = setting(
        "BOLTLINK_ACCESS_LOG_SAMPLE",
        parse.share,
        "0",
        "share of redirects that the access log holds: 0 none, 1 all",
    )
    memory_limit: int = setting(
        "BOLTLINK_MEMORY_LIMIT", parse.size, "500MB", "a web process or worker above this is restarted"
    )
    url: str | None = setting(
        "BOLTLINK_URL", parse.base_url, None, "instance that the command line talks to; unset: the local one"
    )
    api_key: str | None = setting(
        "BOLTLINK_API_KEY", parse.key, None, "API key of the command line; unset: STATE/admin-key", secret=True
    )
