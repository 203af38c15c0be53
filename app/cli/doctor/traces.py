"""Looks at traces: whether what sends them is installed, and whether somebody listens where they are sent.

In: settings. Out: findings. May import: settings.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit

from app.cli.doctor.findings import Finding, ok, warn
from app.settings import Settings

__all__ = ["about_traces"]

CONNECT_S = 2.0
_PORTS = {"http": 80, "https": 443}


def about_traces(settings: Settings) -> Iterator[Finding]:
    """Whether somebody is there; not whether spans are taken."""
    if settings.traces_url is None:
        yield ok("traces", "none are made")
        return
    if not is_installed():
        found = "OTEL_EXPORTER_OTLP_ENDPOINT is set, what sends traces is not installed"
        yield warn("traces", found, "No traces are sent.", "pip install 'boltlink[tracing]', or unset it.")
        return
    parts = urlsplit(settings.traces_url)
    place = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    try:
        socket.create_connection(place, CONNECT_S).close()
    except OSError as error:
        found = f"the collector at {place[0]}:{place[1]} does not answer ({error})"
        yield warn("traces", found, "Spans are dropped; all else goes on.", "Start it, or mend the address.")
    else:
        yield ok("traces", f"the collector at {place[0]}:{place[1]} is there")


def is_installed() -> bool:
    """Whether the extra is."""
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False
